"""Which calls there are: one entry a verb and path, with what goes in and what comes out.

Knows the schemas of queries, and the names of bodies, shapes and examples. Must not know how an
OpenAPI document is written, nor what a handler does: a test holds this table to the routes.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from kernel_gateway.web import schemas
from kernel_gateway.web.backendai import schemas as backendai
from kernel_gateway.web.headers import JSON, NOTEBOOK, TEXT
from kernel_gateway.web.openapi.shapes import ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.web.schemas import Schema

EVENTS = "text/event-stream"
FORM = "multipart/form-data"
PARTS = "multipart/mixed"
ANY = "*/*"

_TEXT: Schema = {"type": "string"}
_OBJECT: Schema = {"type": "object"}
_BYTES: Schema = {"description": "Bytes, as they are."}  # no type: they are no JSON


@dataclass(frozen=True, slots=True)
class Answer:
    meaning: str
    contents: Mapping[str, Schema] = field(default_factory=dict)  # by MIME type; none: no body
    headers: tuple[str, ...] = ()  # see `HEADERS` of the document


@dataclass(frozen=True, slots=True)
class Operation:
    verb: str
    path: str  # below the base URL, with the names of its parameters
    name: str  # for programs; unique
    summary: str
    answers: Mapping[int, Answer]
    _: KW_ONLY
    tag: str
    faults: str  # the shape of its errors
    about: str = ""
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()  # of the request; see `PARAMETERS` of the document
    body: str | None = None  # name of its shape
    body_type: str = JSON
    body_needed: bool = True
    errors: tuple[int, ...] = ()  # beside those that every call can meet
    is_open: bool = False  # nobody has to say who they are

    @property
    def changes(self) -> bool:
        return self.verb != "GET"


def shown(shape: str, meaning: str, *headers: str) -> Answer:
    return Answer(meaning, {JSON: ref(shape)}, headers)


def _of(schema: Schema, *names: str) -> dict[str, Schema]:
    """Some of the parameters of a query."""
    return {name: schema["properties"][name] for name in names}


# -- the process --------------------------------------------------------------------------------

_process = partial(Operation, tag="process", faults="Error")

_PROCESS = (
    _process(
        "GET",
        "/healthz",
        "getHealth",
        "Whether the process lives",
        {200: shown("Readiness", "It does.")},
        about="Served at the root too, whatever the base URL is.",
    ),
    _process(
        "GET",
        "/readyz",
        "getReadiness",
        "Whether something new can be taken",
        {200: shown("Readiness", "It can."), 503: shown("Readiness", "Not at present.")},
        about="Served at the root too, whatever the base URL is.",
    ),
    _process(
        "GET",
        "/api/limits",
        "getLimits",
        "What is taken, and for how long it is kept",
        {200: Answer("By name.", {JSON: _OBJECT})},
    ),
    _process(
        "GET",
        "/api/openapi.json",
        "getOpenApi",
        "This document",
        {200: Answer("OpenAPI 3.1.", {JSON: _OBJECT})},
    ),
)

# -- runs ---------------------------------------------------------------------------------------

_run = partial(Operation, tag="runs", faults="Error")
_ONE_RUN = (404, 409, 410, 422)
_KERNEL = _of(schemas.PAGE, "kernel")

_IN_BOTH_TYPES = (
    {JSON: ref("Run"), NOTEBOOK: _OBJECT},
    ("Location", "Preference-Applied", "Content-Disposition"),
)
_CREATED = {
    200: Answer("It was there already: same ID, same body.", *_IN_BOTH_TYPES),
    201: Answer("It was created.", *_IN_BOTH_TYPES),
}
_OF_A_CREATION = ("Prefer", "traceparent", "tracestate")
_OF_A_FILE = ("ETag", "Accept-Ranges", "Content-Disposition")
_PARTLY = ("Range", "If-Range")

_RUNS = (
    _run(
        "POST",
        "/api/runs",
        "createRun",
        "Execute code, commands or a notebook",
        _CREATED,
        about="Answered at once, or with `Prefer: wait=SECONDS` when it is over; with `Accept: "
        f"{NOTEBOOK}` the run is told as a notebook. On a kernel, on that of a session, or on one "
        "of its own. `kernel` and `session` exclude each other, as do `timeout` and `limits.run`, "
        "and commands in `steps` and in `options`.",
        headers=_OF_A_CREATION,
        body="RunRequest",
        errors=(404, 406, 409, 410, 422, 429, 507),
    ),
    _run(
        "GET",
        "/api/runs",
        "listRuns",
        "The caller's runs, newest first",
        {200: shown("RunPage", "A page of them.")},
        query=schemas.RUNS["properties"],
        errors=(422,),
    ),
    _run(
        "PUT",
        "/api/runs/{run_id}",
        "putRun",
        "Create a run of this ID, or find it again",
        _CREATED,
        about="As creating one by POST, with its run ID in the address: it may be repeated.",
        headers=_OF_A_CREATION,
        body="NamedRunRequest",
        errors=(404, 406, 409, 410, 422, 429, 507),
    ),
    _run(
        "GET",
        "/api/runs/{run_id}",
        "getRun",
        "How a run stands",
        {
            200: shown("Run", "The run.", "ETag"),
            304: Answer("It stands as it did.", headers=("ETag",)),
        },
        query=_of(schemas.PAGE, "outputs", "kernel"),
        headers=("If-None-Match",),
        errors=_ONE_RUN,
    ),
    _run(
        "DELETE",
        "/api/runs/{run_id}",
        "deleteRun",
        "Forget a run that is over",
        {204: Answer("Its log and its artifacts are gone; its ID is 410 from now on.")},
        query=_KERNEL,
        errors=_ONE_RUN,
    ),
    _run(
        "GET",
        "/api/runs/{run_id}/log",
        "readLog",
        "What a run has printed",
        {
            200: Answer("Text.", {JSON: ref("LogPage"), TEXT: _TEXT}, ("Accept-Ranges",)),
            206: Answer("A part of the text.", {TEXT: _TEXT}, ("Accept-Ranges", "Content-Range")),
        },
        about="By pages; reading consumes nothing. With `Accept: text/plain` all the text alone.",
        query=_of(schemas.PAGE, "after", "wait", "limit", "stream", "kernel"),
        headers=_PARTLY,
        errors=(*_ONE_RUN, 406, 416),
    ),
    _run(
        "GET",
        "/api/runs/{run_id}/records",
        "readRecords",
        "All that a run has left behind",
        {200: shown("RecordPage", "Records of every kind.")},
        query=_of(schemas.PAGE, "after", "wait", "limit", "kernel"),
        errors=_ONE_RUN,
    ),
    _run(
        "GET",
        "/api/runs/{run_id}/events",
        "followRun",
        "Everything about a run as it happens",
        {
            200: Answer("Server-sent events, up to `completed`.", {EVENTS: _TEXT}),
            204: Answer("Everything was read already: do not come back."),
        },
        about="`id` is the sequence number, `event` the kind, `data` the record: of the schema "
        "`Record`, or `GapRecord` where the log begins later than it was asked for.",
        query=_of(schemas.PAGE, "after", "kernel"),
        headers=("Last-Event-ID",),
        errors=_ONE_RUN,
    ),
    _run(
        "GET",
        "/api/runs/{run_id}/artifacts",
        "listArtifacts",
        "The files of a run",
        {200: shown("ArtifactList", "All of them.")},
        query=_KERNEL,
        errors=_ONE_RUN,
    ),
    _run(
        "GET",
        "/api/runs/{run_id}/artifacts/{artifact_id}",
        "getArtifact",
        "The bytes of an artifact",
        {
            200: Answer("All, with their type.", {ANY: _BYTES}, _OF_A_FILE),
            206: Answer("A part of them.", {ANY: _BYTES}, (*_OF_A_FILE, "Content-Range")),
            304: Answer("They are the same.", headers=("ETag",)),
        },
        query=_KERNEL,
        headers=("If-None-Match", *_PARTLY),
        errors=(*_ONE_RUN, 416),
    ),
    _run(
        "GET",
        "/api/runs/{run_id}/notebook",
        "getNotebook",
        "A run as a notebook with its outputs, as of now",
        {200: Answer("nbformat 4.", {NOTEBOOK: _OBJECT}, ("Content-Disposition",))},
        query=_KERNEL,
        errors=(*_ONE_RUN, 413),
    ),
    _run(
        "POST",
        "/api/notebooks/inspect",
        "inspectNotebook",
        "Which parameters a notebook has",
        {200: shown("Inspection", "Those of its cell tagged `parameters`.")},
        about="Nothing is executed.",
        body="InspectionRequest",
        errors=(422,),
    ),
    _run(
        "POST",
        "/api/runs/{run_id}/input",
        "giveInput",
        "Answer the prompt of a run",
        {200: shown("Nothing", "The run has it.")},
        about="With `prompt_id` it may be repeated: the run gets the same answer once. With null "
        "nobody has an answer, and the step fails as one that may not ask.",
        query=_KERNEL,
        body="InputRequest",
        errors=_ONE_RUN,
    ),
    _run(
        "POST",
        "/api/runs/{run_id}/cancel",
        "cancelRun",
        "Ask for the end of a run",
        {
            200: shown("Run", "It is over."),
            202: shown("Run", "It is `cancelling`: its end will come."),
        },
        about="Repeating is harmless.",
        query=_KERNEL,
        body="CancelRequest",
        body_needed=False,
        errors=_ONE_RUN,
    ),
    _run(
        "POST",
        "/api/kernels/{kernel_id}/execute",
        "execute",
        "Execute code, and be told what came of it so far",
        {200: shown("Result", "What is new. Failure of the user's code is in it.")},
        about="Answers at an end, a prompt, a finished phase, or after `wait` seconds.",
        body="ExecuteRequest",
        errors=(404, 409, 410, 422, 429, 507),
    ),
)

# -- Jupyter's ----------------------------------------------------------------------------------

_kernel = partial(Operation, tag="kernels", faults="JupyterError")
_kernelspec = partial(Operation, tag="kernelspecs", faults="JupyterError")
_session = partial(Operation, tag="sessions", faults="JupyterError")

_PERMISSIONS: Schema = {
    "description": 'Actions by resource, as `{"kernels": ["read"]}`.',
    "type": "object",
    "additionalProperties": {"type": "array", "items": _TEXT},
}

_KERNELS = (
    _kernel(
        "GET",
        "/api",
        "getVersion",
        "The version of the gateway",
        {200: shown("Version", "Its version.")},
    ),
    _kernel(
        "GET",
        "/api/status",
        "getStatus",
        "How much there is to do",
        {200: shown("Status", "Of the caller's kernels.")},
    ),
    _kernel(
        "GET",
        "/api/me",
        "getMe",
        "Who the caller is, and what that allows",
        {200: shown("Me", "The owner of the token.")},
        query={"permissions": {"contentMediaType": JSON, "contentSchema": _PERMISSIONS}},
        errors=(400,),
    ),
    _kernel(
        "GET",
        "/api/kernels",
        "listKernels",
        "The caller's kernels",
        {200: shown("KernelList", "All of them.")},
    ),
    _kernel(
        "POST",
        "/api/kernels",
        "createKernel",
        "Start a kernel",
        {201: shown("Kernel", "It is starting, and takes runs already.", "Location")},
        body="KernelRequest",
        body_needed=False,
        errors=(404, 429),
    ),
    _kernel(
        "GET",
        "/api/kernels/{kernel_id}",
        "getKernel",
        "A kernel as it stands",
        {200: shown("Kernel", "The kernel.")},
        errors=(404,),
    ),
    _kernel(
        "DELETE",
        "/api/kernels/{kernel_id}",
        "deleteKernel",
        "End a kernel",
        {204: Answer("Its process is gone, its runs are `cancelled`.")},
        errors=(404,),
    ),
    _kernel(
        "POST",
        "/api/kernels/{kernel_id}/interrupt",
        "interruptKernel",
        "Interrupt whatever a kernel executes",
        {204: Answer("It was asked to stop.")},
        errors=(404, 409),
    ),
    _kernel(
        "POST",
        "/api/kernels/{kernel_id}/restart",
        "restartKernel",
        "Start a kernel anew",
        {200: shown("Kernel", "It is restarting; the run in flight is `lost`.")},
        errors=(404, 429),
    ),
    _kernel(
        "GET",
        "/api/kernels/{kernel_id}/health",
        "getKernelHealth",
        "Whether a kernel answers, and what its own check says",
        {200: shown("KernelHealth", "Asked just now.")},
        errors=(404,),
    ),
    _kernel(
        "PUT",
        "/api/kernels/{kernel_id}/health",
        "setHealthCheck",
        "Give a kernel a check of its own",
        {200: shown("KernelHealth", "As of now.")},
        body="HealthCheck",
        errors=(404,),
    ),
    _kernel(
        "GET",
        "/api/kernels/{kernel_id}/output",
        "getKernelOutput",
        "What the process of a kernel has written itself",
        {200: Answer("Its end.", {JSON: ref("KernelOutput"), TEXT: _TEXT})},
        errors=(404, 406),
    ),
    _kernel(
        "GET",
        "/api/kernels/{kernel_id}/channels",
        "openChannels",
        "The channels of a kernel over a WebSocket",
        {101: Answer("From here on it is a WebSocket.")},
        about="Messages of Jupyter's protocol, in both framings.",
        query={"session_id": _TEXT},
        errors=(404, 409, 429),
    ),
    _kernelspec(
        "GET",
        "/api/kernelspecs",
        "listKernelSpecs",
        "What kernels can be started",
        {200: shown("KernelSpecs", "All of them, and the default.")},
    ),
    _kernelspec(
        "GET",
        "/api/kernelspecs/{kernelspec}",
        "getKernelSpec",
        "A kind of kernel",
        {200: shown("KernelSpec", "The kernelspec.")},
        errors=(404,),
    ),
    _kernelspec(
        "GET",
        "/kernelspecs/{kernelspec}/{file}",
        "getKernelSpecFile",
        "A file of a kernelspec",
        {200: Answer("Its content, with its type.", {ANY: _BYTES})},
        about="The path may have several segments.",
        errors=(400, 404, 422),
    ),
    _session(
        "GET",
        "/api/sessions",
        "listSessions",
        "The caller's documents and their kernels",
        {200: shown("SessionList", "All of them, oldest first.")},
    ),
    _session(
        "POST",
        "/api/sessions",
        "openSession",
        "Open a document, with a kernel",
        {201: shown("Session", "A new one, or that of this path.", "Location")},
        body="SessionRequest",
        errors=(404, 409, 429),
    ),
    _session(
        "GET",
        "/api/sessions/{session_id}",
        "getSession",
        "A document and its kernel",
        {200: shown("Session", "The session.")},
        errors=(404,),
    ),
    _session(
        "PATCH",
        "/api/sessions/{session_id}",
        "changeSession",
        "Rename a document, or give it another kernel",
        {200: shown("Session", "As it is now.")},
        body="SessionChange",
        body_needed=False,
        errors=(404, 409, 429),
    ),
    _session(
        "DELETE",
        "/api/sessions/{session_id}",
        "endSession",
        "Close a document, and end its kernel",
        {204: Answer("Both are gone.")},
        errors=(404,),
    ),
)

# -- Backend.AI's -------------------------------------------------------------------------------

_theirs = partial(Operation, tag="backendai", faults="Problem")
_FREE = {JSON: _OBJECT}

_BACKENDAI = (
    _theirs(
        "GET",
        "/",
        "probe",
        "The version that is spoken; unsigned",
        {200: Answer("The version.", _FREE)},
        faults="Error",
        is_open=True,
        errors=(413,),
    ),
    _theirs(
        "GET",
        "/manager/announcement",
        "getAnnouncement",
        "No news",
        {200: Answer("There is none.", _FREE)},
    ),
    _theirs(
        "POST",
        "/session",
        "createComputeSession",
        "Make a session, or find it by its name",
        {200: Answer("It was there.", _FREE), 201: Answer("It was made.", _FREE)},
        body="ComputeSessionRequest",
    ),
    _theirs(
        "GET",
        "/session/{name}",
        "getComputeSession",
        "A session as it stands",
        {200: Answer("The session.", _FREE)},
    ),
    _theirs(
        "POST",
        "/session/{name}",
        "executeInComputeSession",
        "Execute code in a session",
        {200: Answer("What is new of the run.", _FREE)},
        body="ComputeExecuteRequest",
    ),
    _theirs(
        "PATCH",
        "/session/{name}",
        "restartComputeSession",
        "Restart the kernels of a session",
        {204: Answer("They take runs again.")},
    ),
    _theirs(
        "DELETE",
        "/session/{name}",
        "deleteComputeSession",
        "End a session, and remove its folder",
        {200: Answer("It is gone.", _FREE)},
    ),
    _theirs(
        "POST",
        "/session/{name}/interrupt",
        "interruptComputeSession",
        "Interrupt the run in flight",
        {204: Answer("It was asked to stop.")},
    ),
    _theirs(
        "POST",
        "/session/{name}/complete",
        "completeInComputeSession",
        "What could stand at the end of this code",
        {200: Answer("Suggestions.", _FREE)},
        body="CompleteRequest",
    ),
    _theirs(
        "GET",
        "/session/{name}/logs",
        "getComputeSessionLogs",
        "The end of what its runs have printed",
        {200: Answer("Text.", _FREE)},
    ),
    _theirs(
        "POST",
        "/session/{name}/upload",
        "uploadFiles",
        "Send files to the folder of a session",
        {204: Answer("All of them are there.")},
        body="Upload",
        body_type=FORM,
    ),
    _theirs(
        "GET",
        "/session/{name}/files",
        "listFiles",
        "The files in a folder of a session",
        {200: Answer("A list, as JSON in a text.", _FREE)},
        query=backendai.LIST["properties"],
    ),
    _theirs(
        "GET",
        "/session/{name}/download",
        "downloadFiles",
        "Files and folders of a session, each as a tar",
        {200: Answer("One part each.", {PARTS: _BYTES})},
        query=backendai.DOWNLOAD["properties"],
    ),
    _theirs(
        "GET",
        "/stream/session/{name}/execute",
        "streamExecution",
        "One run over a WebSocket",
        {101: Answer("From here on it is a WebSocket.")},
    ),
    _theirs(
        "GET",
        "/events/session",
        "listenToComputeSessions",
        "What happens to sessions",
        {200: Answer("One event after the other.", {EVENTS: _TEXT})},
        query=backendai.EVENTS["properties"],
    ),
    _theirs(
        "POST",
        "/admin/gql",
        "queryGraph",
        "Ask about sessions by GraphQL",
        {200: Answer("The result.", _FREE)},
        body="GraphQuery",
    ),
)

OPERATIONS = (*_RUNS, *_KERNELS, *_PROCESS, *_BACKENDAI)
