# Worker, search and command line: no training library, an ordinary account, nothing written outside /data and /tmp.
FROM python:3.11.13-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
COPY setup/run.lock setup/dev.lock setup/
RUN pip install --no-deps -r setup/run.lock
# gpu: deploy/compose.decode.yml
ARG DECODE=cpu
RUN if [ "$DECODE" = gpu ]; then pip install -c setup/run.lock -c setup/dev.lock nvidia-dali-cuda130==2.4.0; fi
COPY pyproject.toml README.md ./
COPY kizu_fast kizu_fast
COPY export export
COPY benchmarks benchmarks
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation -e . \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin kizu \
 && install -d -o kizu -g kizu /data /models /photos
ENV KIZU_DATA_DIR=/data KIZU_MODEL_REPOSITORY=/models LIBRARY_ROOT=/photos HOME=/tmp
USER 10001:10001
CMD ["python", "-m", "kizu_fast.worker"]
