# One-shot export: the original libraries, about 7 GB. It needs the network once for official weights, and no GPU.
FROM python:3.11.13-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY setup/export.lock setup/export.lock
RUN pip install --no-deps -r setup/export.lock
COPY pyproject.toml README.md ./
COPY kizu_fast kizu_fast
COPY export export
COPY benchmarks benchmarks
RUN pip install --no-deps --no-build-isolation -e . \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin kizu \
 && install -d -o kizu -g kizu /models /weights
ENV KIZU_MODEL_REPOSITORY=/models MODEL_CACHE_DIR=/weights HOME=/tmp
USER 10001:10001
CMD ["python", "-m", "export", "--repository", "/models"]
