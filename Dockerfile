# The base install with the extra `serve`: it predicts and serves, and has neither the pipeline nor MLflow.
#
#   docker build --tag one-neuron .
#   docker run --rm --publish 127.0.0.1:8000:8000 --volume "$PWD/models:/models:ro" one-neuron
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
# The locked versions; uv accepts a lock with hashes as constraints, pip does not.
RUN awk '/^[a-z]/ {found = /^uv==/} found' requirements.txt >uv.txt \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement uv.txt \
    && python -m venv /one-neuron \
    && uv pip install --no-cache --compile-bytecode --python /one-neuron --constraint requirements.txt '.[serve]'

FROM python:3.13-slim
RUN useradd --uid 10001 --no-create-home one-neuron
COPY --from=build /one-neuron /one-neuron
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK CMD ["/one-neuron/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["/one-neuron/bin/one-neuron"]
CMD ["serve", "--host", "0.0.0.0", "--model", "/models/model.h5"]
