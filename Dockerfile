FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1
WORKDIR /app

COPY requirements/runtime.txt requirements/
RUN python -m pip install --disable-pip-version-check --require-hashes --no-deps -r requirements/runtime.txt

COPY erasure.toml pyproject.toml ./
COPY activities activities
COPY workflows workflows
COPY worker worker
COPY starter starter

RUN useradd --system --no-create-home erasure
USER erasure
STOPSIGNAL SIGTERM
CMD ["python", "-m", "worker"]
