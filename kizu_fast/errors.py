"""The exception tree. The class decides what happens next, never the text.

Every message is one line that names the thing and the cause: it is shown to users as it stands.
"""


class KizuError(Exception):
    """Anything this project raises on purpose."""


class ConfigError(KizuError):
    """A setting, model, backend or database is missing or wrong: the process cannot do its job. Names the command that mends it."""


class PermanentError(KizuError):
    """A fault of one photo or one request: trying again gives the same answer."""


class ImageUnreadable(PermanentError):
    """The bytes are no picture that we can decode."""


class ImageTooLarge(PermanentError):
    """The header declares more bytes or pixels than the caps allow. Names the setting that raises the cap."""


class OperationUnavailable(PermanentError):
    """The models of one operation are not there. Names them and the command that brings them; no lasting word about the photo."""


class RowMismatch(PermanentError):
    """A row does not have the shape or dtype that its ModelSpec declares."""


class TransientError(KizuError):
    """Trying again later may well work. Costs an attempt."""


class BatcherStopped(TransientError):
    """The batcher was closed or died while a row waited for its answer."""


class LeaseLost(TransientError):
    """The job passed on to another worker: whatever this one computed must not be written."""


class FileUnsettled(TransientError):
    """The file changed while it was read, or is still being copied. Costs no attempt: the job is deferred."""


class Outage(TransientError):
    """A service is gone. Claiming pauses and no attempt is spent."""


class BackendUnavailable(Outage):
    """The inference backend does not answer."""


class SourceUnavailable(Outage):
    """The library folder (an unmounted drive) or the object store does not answer."""


class DatabaseUnavailable(Outage):
    """PostgreSQL does not answer, refuses work for now, or has no disk space left."""
