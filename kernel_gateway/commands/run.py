"""`kernel-gateway run`: notebooks, each on a kernel of its own."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Float, Int, List, Unicode

from kernel_gateway import app
from kernel_gateway.commands.answers import read_answers
from kernel_gateway.commands.base import ALIASES, FLAGS, UsageError, version
from kernel_gateway.commands.engines import ENGINE_ALIASES, EngineCommand
from kernel_gateway.commands.leftovers import leftovers
from kernel_gateway.commands.orders import places
from kernel_gateway.commands.parameters import OPTIONS, given_parameters
from kernel_gateway.commands.running import Item, Wanted, run_all
from kernel_gateway.commands.secrets import read_secrets
from kernel_gateway.commands.sources import read_source
from kernel_gateway.errors import InvalidField, NotebookUnreadable, NotebookUnwritable, Refused
from kernel_gateway.notebook.answers import Listed
from kernel_gateway.notebook.batch import USUAL_CAUSES, Cause, Order, Retries
from kernel_gateway.notebook.job import NotebookJob
from kernel_gateway.notebook.places import STANDARD, folder_of, shown, sink_for
from kernel_gateway.notebook.plan import SKIP_TAG, PlanOptions, plan
from kernel_gateway.notebook.recovery import JobFolder
from kernel_gateway.notebook.rendering import Form, check_installed
from kernel_gateway.notebook.saving import CopySink, FileSink
from kernel_gateway.runs.plan import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel_gateway.commands.orders import Place
    from kernel_gateway.config import Settings
    from kernel_gateway.notebook.batch import Keeper
    from kernel_gateway.notebook.document import Source
    from kernel_gateway.notebook.saving import Sink

_MOST_JOBS = 4  # by default: kernels are made for whole machines


class RunApp(EngineCommand):
    name = "kernel-gateway run"
    description = """
        Run notebooks and write what became of each to another.

        kernel-gateway run [options] IN.ipynb [OUT.ipynb]
        kernel-gateway run [options] --output-dir DIR IN.ipynb...

        Without OUT the output of report.ipynb is report.out.ipynb beside it; the input is written
        only if it is named twice. The output is there from the start, grows while the notebook
        runs, and is complete after any end. - stands for standard input and standard output.

        With --output-dir all names are inputs, and that is where their outputs go. --matrix runs
        each input once for every combination of values, which is in the name of its output:
        report.region=eu.out.ipynb. In OUT names in braces are filled in: 'out/{region}.ipynb'.

        Exit codes: 0 all cells are ok · 1 a cell failed, or a report was not made · 2 usage, or an
        unreadable notebook · 3 no such kernel · 4 the kernel did not start · 5 a limit struck ·
        6 the kernel died · 7 a cell asked for input · 130 interrupted · 143 terminated. Of several
        notebooks that of the first, in their order, that did not end well. The first Ctrl-C
        interrupts the cell and the run ends when it has; the second does not wait for it.
    """
    examples = """
        kernel-gateway run report.ipynb
        kernel-gateway run report.ipynb out/report.ipynb --cell-timeout=600
        kernel-gateway run -k ir analysis.ipynb - > result.ipynb
        kernel-gateway run --jobs=4 --output-dir=out --report=junit.xml --html=out *.ipynb
        kernel-gateway run report.ipynb --matrix region=eu,us --matrix year=2024,2025
    """
    kernel = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Kernelspec. Default: the one that the notebook names, else one of its language, "
        "else Kernels.default_spec.",
    )
    cwd = Unicode(
        ".",
        config=True,
        help="Folder in which the kernel starts; 'notebook' is the notebook's own.",
    )
    cell_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that one cell may take. Default: no limit.",
    )
    timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that all cells together may take. Default: no limit.",
    )
    idle_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that a cell may go without any output. Default: no limit.",
    )
    start_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that the kernel may take to come up. Default: Runs.start_limit_s.",
    )
    allow_errors = Bool(
        False,
        config=True,
        help="Go on after a cell that fails, as after one with the tag raises-exception.",
    )
    allow_unknown_parameters = Bool(
        False, config=True, help="Also take parameters that the notebook does not name."
    )
    ordered = OPTIONS
    output_dir = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Folder for the outputs; made when it is not there. All names are inputs then.",
    )
    matrix = List(
        Unicode(),
        config=True,
        help="NAME=VALUE,VALUE,...: a parameter, typed as by -p, and its values, of which each run "
        "gets one; NAME=[...] is a list in YAML. May be given more than once: every combination.",
    )
    jobs = Int(
        min(_MOST_JOBS, len(os.sched_getaffinity(0))),
        min=1,
        config=True,
        help=f"So many notebooks run at the same time. Default: one a processor, {_MOST_JOBS} at "
        "most.",
    )
    retries = Int(
        0,
        min=0,
        config=True,
        help="Run a notebook up to so many times more when it has ended as --retry-on says.",
    )
    retry_on = Unicode(
        ",".join(sorted(cause.value for cause in USUAL_CAUSES)),
        config=True,
        help="Ends after which it is run once more: "
        f"{', '.join(cause.value for cause in Cause)} (a cell has failed), with commas.",
    )
    from_ = Unicode(
        None, allow_none=True, config=True, help="Begin with the first cell of this tag or ID."
    )
    until = Unicode(
        None, allow_none=True, config=True, help="End with the last cell of this tag or ID."
    )
    only = List(
        Unicode(),
        config=True,
        help="Only code cells with this tag. May be given more than once: with one of them.",
    )
    skip_tag = Unicode(SKIP_TAG, config=True, help="Cells with this tag are left out.")
    report = Unicode(
        None,
        allow_none=True,
        config=True,
        help="File for a JUnit report: a suite a notebook, a case a code cell.",
    )
    html = Unicode(
        None,
        allow_none=True,
        config=True,
        help="File for the output as a web page, or a folder for those of several. By nbconvert.",
    )
    pdf = Unicode(
        None,
        allow_none=True,
        config=True,
        help="The same as PDF. nbconvert wants LaTeX for it.",
    )
    log_file = Unicode(
        None,
        allow_none=True,
        config=True,
        help="File for all records of the runs while they come, one JSON object a line, as "
        "GET /api/runs/ID/records gives them.",
    )
    as_json = Bool(
        False, config=True, help="Events on stdout, one JSON object a line, in place of progress."
    )
    log_output = Bool(
        False, config=True, help="Show the text that cells print on stderr while they run."
    )
    secret = List(
        Unicode(),
        config=True,
        help="NAME=env:VARIABLE or NAME=file:PATH: a value that cells find as NAME in their "
        "environment, and that is hidden in all that the run leaves behind. May be given more "
        "than once.",
    )
    answer_from_stdin = Bool(
        False, config=True, help="Cells may ask: a line of standard input is the answer."
    )
    answers = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Cells may ask: each line of this file is an answer, in their order.",
    )
    input_timeout = Float(
        None,
        allow_none=True,
        config=True,
        help="Seconds that a cell may wait for an answer. Default: no limit.",
    )
    aliases: dict[Any, Any] = {
        **ALIASES,
        **ENGINE_ALIASES,
        ("k", "kernel"): "RunApp.kernel",
        "cwd": "RunApp.cwd",
        "cell-timeout": "RunApp.cell_timeout",
        "timeout": "RunApp.timeout",
        "idle-timeout": "RunApp.idle_timeout",
        "start-timeout": "RunApp.start_timeout",
        "output-dir": "RunApp.output_dir",
        "matrix": "RunApp.matrix",
        "jobs": "RunApp.jobs",
        "retries": "RunApp.retries",
        "retry-on": "RunApp.retry_on",
        "from": "RunApp.from_",
        "until": "RunApp.until",
        "only": "RunApp.only",
        "skip-tag": "RunApp.skip_tag",
        "report": "RunApp.report",
        "html": "RunApp.html",
        "pdf": "RunApp.pdf",
        "log": "RunApp.log_file",
        "secret": "RunApp.secret",
        "answers": "RunApp.answers",
        "input-timeout": "RunApp.input_timeout",
    }
    flags: dict[Any, Any] = {
        **{name: flag for name, flag in FLAGS.items() if name != "y"},  # -y is YAML here
        "allow-unknown-parameters": (
            {"RunApp": {"allow_unknown_parameters": True}},
            allow_unknown_parameters.help,
        ),
        "allow-errors": ({"RunApp": {"allow_errors": True}}, allow_errors.help),
        "log-output": ({"RunApp": {"log_output": True}}, log_output.help),
        "json": ({"RunApp": {"as_json": True}}, as_json.help),
        "stdin": ({"RunApp": {"answer_from_stdin": True}}, answer_from_stdin.help),
    }

    def run(self) -> int:
        wanted = self._wanted()
        app.refuse_twin_distribution()
        settings = self.read_settings()
        folder = app.headless_folder(settings)
        keeper: Keeper | None = None
        if self.server is None:
            orders = wanted.orders
            keeper = JobFolder(
                folder, [order.file for order in orders], [order.homes for order in orders]
            )
        wanted = replace(wanted, note=_note(settings))
        engine = self.engine(settings, folder, [order.job for order in wanted.orders])
        return asyncio.run(run_all(engine, wanted, keeper))

    def _wanted(self) -> Wanted:
        found = places(
            self.extra_args,
            self.output_dir,
            self.matrix,
            given_parameters(self.given),
            new_id=lambda: str(uuid.uuid4()),
            now=datetime.now(UTC),
        )
        if self.as_json and any(place.output == STANDARD for place in found):
            raise UsageError("--json and the output cannot both have standard output.")
        pages = {Form.HTML: self.html, Form.PDF: self.pdf}
        for form in [form for form, where in pages.items() if where is not None]:
            _check_installed(form)
        if self.output_dir is not None:
            _make_folder(self.output_dir)
        self._check_input(found)
        secrets = read_secrets(self.secret, os.environ)
        lines = None if self.answers is None else read_answers(self.answers)
        sources = {
            name: read_source(name, "run") for name in dict.fromkeys(place.input for place in found)
        }
        items = [
            self._item(place, sources[place.input], len(found) > 1, secrets, lines)
            for place in found
        ]
        check_apart(found, items)
        report, records = _path(self.report), _path(self.log_file)
        beside = {"--report": report, "--log": records}
        check_harmless(found, items, {"--answers": _path(self.answers)}, beside)
        return Wanted(
            items=tuple(items),
            jobs=self.jobs,
            retries=Retries(most=self.retries, causes=self._causes()),
            report=report,
            records=records,
            log_output=self.log_output,
            as_json=self.as_json,
            stdin=self.answer_from_stdin,
        )

    def _check_input(self, found: Sequence[Place]) -> None:
        if self.answer_from_stdin and self.answers is not None:
            raise UsageError("Answers come from --stdin or from --answers, not from both.")
        if self.answer_from_stdin and any(place.input == STANDARD for place in found):
            raise UsageError("The notebook and --stdin cannot both have standard input.")

    def _item(
        self,
        place: Place,
        source: Source,
        is_one_of_several: bool,
        secrets: Mapping[str, str],
        lines: Sequence[str] | None,
    ) -> Item:
        job = replace(self._job(place, source), env=secrets, secrets=tuple(secrets))
        assert job.cwd is not None
        pages = tuple(
            (form, _page(Path(where).expanduser(), form, place, is_one_of_several))
            for form, where in ((Form.HTML, self.html), (Form.PDF, self.pdf))
            if where is not None
        )
        sink = _sink(place.output)
        copy = CopySink(sink) if pages else None
        order = Order(
            name="standard output" if place.output == STANDARD else shown(place.output),
            job=job,
            sink=copy or sink,
            homes=self.homes(
                job.cwd, place.input, place.output, is_one_of_several=is_one_of_several
            ),
            file=sink.path if isinstance(sink, FileSink) else None,
            answers=None if lines is None else partial(Listed, lines),
        )
        return Item(order=order, copy=copy, pages=pages)

    def _job(self, place: Place, source: Source) -> NotebookJob:
        folder = self._folder(place.input)
        return NotebookJob(
            source=source,
            version=version(),
            input_name=shown(place.input),
            output_name=shown(place.output),
            options=self._options(place.input, source),
            parameters=place.values,
            allow_unknown_parameters=self.allow_unknown_parameters,
            kernel_name=self.kernel,
            cwd=folder,
            files=self.uploads(folder),
            start_limit_s=self._seconds("start_timeout"),
        )

    def _options(self, name: str, source: Source) -> PlanOptions:
        options = PlanOptions(
            allow_errors=self.allow_errors,
            allow_stdin=self.answer_from_stdin or self.answers is not None,
            limits=Limits(
                step=self._seconds("cell_timeout"),
                run=self._seconds("timeout"),
                idle=self._seconds("idle_timeout"),
                input=self._seconds("input_timeout"),
            ),
            skip_tag=self.skip_tag,
            from_=self.from_,
            until=self.until,
            only=tuple(self.only),
        )
        try:
            plan(source.notebook, options)
        except NotebookUnreadable as fault:
            raise UsageError(f"{shown(name)} cannot be run. {fault.message}") from fault
        except InvalidField as fault:
            raise UsageError(f"{shown(name)} cannot be run so: {fault.message}.") from fault
        return options

    def _seconds(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        if value is not None and not value > 0:  # nan is not
            raise UsageError(f"--{name.replace('_', '-')} must be above 0.")
        return value

    def _folder(self, notebook: str) -> Path:
        folder = Path(self.cwd).expanduser().absolute()
        if self.cwd == "notebook":
            folder = folder_of(notebook) or Path.cwd()
        if not folder.is_dir():
            raise UsageError(f"There is no folder {str(folder)!r}.")
        return folder

    def _causes(self) -> frozenset[Cause]:
        known = {cause.value: cause for cause in Cause}
        names = [name.strip() for name in self.retry_on.split(",")]
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"--retry-on knows {', '.join(known)}, and not {unknown[0]!r}.")
        return frozenset(known[name] for name in names)


def _note(settings: Settings) -> str:
    """What somebody would want to know whose run was killed."""
    number = sum(map(len, leftovers(settings).values()))
    if not number:
        return ""
    outputs = "An output" if number == 1 else f"{number} outputs"
    is_are = "is" if number == 1 else "are"
    return f"{outputs} of an earlier run {is_are} not complete: kernel-gateway recover"


def check_apart(found: Sequence[Place], items: Sequence[Item]) -> None:
    """No run replaces what is of another one, by whatever names they are called."""
    outputs = [item.order.file for item in items]
    pages = [path.resolve() for item in items for _, path in item.pages]
    artifacts = [item.order.homes.artifacts.resolve() for item in items]
    for paths in (outputs, pages, artifacts):
        counts = Counter(path for path in paths if path is not None)
        if twice := next((path for path, count in counts.items() if count > 1), None):
            raise UsageError(f"Two runs would both write {twice}: give them different outputs.")
    inputs = [_file(place.input) for place in found]
    for number, output in enumerate(outputs):
        others = {path for other, path in enumerate(inputs) if other != number}
        if output is not None and output in others:
            raise UsageError(f"The output {output} is the input of another run.")


def check_harmless(
    found: Sequence[Place],
    items: Sequence[Item],
    read: Mapping[str, Path | None],
    written: Mapping[str, Path | None],
) -> None:
    """What is written beside the outputs has a folder, and replaces nothing that is read or written
    as something else. `read` and `written` are files by the options that name them."""
    known = [(_file(place.input), "an input") for place in found]
    known += [(item.order.file, "an output") for item in items]
    known += [(path, f"the file of {option}") for option, path in read.items()]
    taken = {path.resolve(): what for path, what in known if path is not None}
    pages = [(path, f"--{form.value}") for item in items for form, path in item.pages]
    for path, option in (*pages, *((path, option) for option, path in written.items())):
        if path is None or (path.exists() and not path.is_file()):  # a device or a pipe
            continue
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path} has no folder: make {path.parent} first.")
        if what := taken.get(path.resolve()):
            raise UsageError(f"{option} {path} is {what}: give it a file of its own.")
        taken[path.resolve()] = f"the file of {option}"


def _file(name: str) -> Path | None:
    """That a notebook is in, behind all links."""
    folder = folder_of(name)
    return None if folder is None else (folder / Path(name).name).resolve()


# -- files -----------------------------------------------------------------------------------------


def _sink(output: str) -> Sink:
    try:
        return sink_for(output)
    except NotebookUnwritable as fault:
        raise UsageError(fault.message) from fault


def _make_folder(name: str) -> None:
    """Storage with a URL has no folders."""
    if folder_of(name) is None:
        return
    try:
        Path(name).expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UsageError(f"The folder {name} cannot be made: {fault.strerror}.") from fault


def _page(where: Path, form: Form, place: Place, is_one_of_several: bool) -> Path:
    """A file for the page of an output; in a folder it has the output's name."""
    if not (is_one_of_several or where.is_dir()):
        return where
    try:
        where.mkdir(exist_ok=True)
    except OSError as fault:
        raise UsageError(f"{where} must be a folder for several pages.") from fault
    name = place.input if place.output == STANDARD else place.output
    stem = "notebook" if name == STANDARD else shown(name).rpartition("/")[2]
    return where / f"{stem.removesuffix('.ipynb')}.{form.value}"


def _check_installed(form: Form) -> None:
    try:
        check_installed(form)
    except Refused as fault:
        raise UsageError(fault.message) from None


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name).expanduser()
