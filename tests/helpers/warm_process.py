"""New processes for tests, forked from one that has imported torch and the package, which takes seconds.

Run as a script it is that process: it has run no model and started no thread.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

SECONDS = 120  # that a process may take


@contextmanager
def warm_process():
    """A function that runs code as ``subprocess.run([sys.executable, "-c", code, *arguments])`` does."""
    if not hasattr(os, "fork"):
        yield _run_cold
        return
    # more threads of OpenBLAS would start with its import
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, __file__], env=environment, **pipes) as helper:

        def run(code, *arguments):
            arguments = list(map(str, arguments))
            with tempfile.TemporaryDirectory() as folder:
                task = [code, arguments, dict(os.environ), os.getcwd(), folder]
                print(json.dumps(task), file=helper.stdin, flush=True)
                status = int(helper.stdout.readline())
                printed = [(Path(folder) / name).read_text() for name in ("stdout", "stderr")]
            return subprocess.CompletedProcess(arguments, status, *printed)

        yield run


def _run_cold(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def _fork(*task):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        signal.alarm(SECONDS)
        _execute(*task)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _execute(code, arguments, environment, working_folder, folder):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(working_folder)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<task>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    import fair_esm_oracle  # noqa: F401  # torch and fair-esm
    import sklearn.linear_model
    import sklearn.pipeline  # noqa: F401

    import sklearn_esm._engine  # noqa: F401

    for line in sys.stdin:
        print(_fork(*json.loads(line)), flush=True)
