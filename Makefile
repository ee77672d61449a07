# Everything needed is set up here: Python 3.11+ and make are enough on Debian and Ubuntu.
#
#   make serve                    install, and serve the example application
#   make test  [ARGS="-k name"]   install with test tools, run the tests
#   make coverage                 the same, slower, and tell which branches were never taken
#   make check                    ruff and mypy
#   make docs                     the files that are made from the settings' schema
#   make autobahn [ARGS=--http2]  the Autobahn WebSocket testsuite (needs a Python 2.7)
#   make frameworks               the frameworks of the field, each in a small application
#   make memcheck                 the HTTP/2 engines' tests under AddressSanitizer (needs gcc)
#   make fuzz                     both HTTP/2 engines, told apart by a fuzzer (ARGS=-max_total_time=60)
#   make bench SCENARIO=h1-hello  CPU per request, next to other servers; SCENARIO=all for all
#   make bench-check              the pure rings, compared with benchmarks/baseline.json
#   make bench-docs               docs/benchmarks.md, from the results of make bench
#   make clean                    remove all that these targets made

# The first Python that is new enough and can make virtual environments; or say PYTHON=…
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
SCENARIO ?= h1-hello
ARGS ?=
# Each process takes a stretch of the tests: what neighbours share is started once, and those that
# wait for a server run beside those that compute. Who is ready first takes of what the other has left.
PARALLEL ?= -n 2 --dist worksteal

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

.PHONY: serve test coverage check docs autobahn frameworks memcheck fuzz bench bench-check bench-docs clean
.DELETE_ON_ERROR:

serve: .venv/.serve
	@exec $(BIN)/hyperserver examples.showcase:app --config config.example.toml

test: .venv/.test
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

coverage: .venv/.test
	@$(BIN)/python -m pytest $(PARALLEL) --cov --cov-branch --cov-report=term $(ARGS)

check: .venv/.check
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

docs: .venv/.serve
	@$(BIN)/hyperserver config reference > docs/configuration.md
	@$(BIN)/hyperserver config schema > docs/hyperserver.schema.json
	@$(BIN)/hyperserver config example > config.example.toml

autobahn: .venv/.test
	@$(BIN)/python -m tests.autobahn.run $(ARGS)

frameworks: tests/frameworks/.venv/.ready
	@tests/frameworks/.venv/bin/python -m tests.frameworks.run $(ARGS)

memcheck: .venv/.test
	@tests/memcheck $(BIN)/python $(ARGS)

fuzz: .venv/.fuzz
	@mkdir -p build/fuzz/http2
	@$(BIN)/python -m tests.fuzz.http2 -artifact_prefix=build/fuzz/ -max_total_time=180 $(ARGS) \
		build/fuzz/http2

bench: .venv/.bench
	@$(BIN)/python -m benchmarks.run --scenario $(SCENARIO) $(ARGS)

bench-check: .venv/.bench
	@$(BIN)/python -m benchmarks.micro.check $(ARGS)

bench-docs: .venv/.bench
	@$(BIN)/python -m benchmarks.docs $(ARGS)

clean:
	@rm -rf hyperserver/*/*.so hyperserver/*/*/*.so hyperserver__mypyc*.so
	@rm -rf .venv build dist *.egg-info benchmarks/.venv benchmarks/results
	@rm -rf tests/autobahn/.venv tests/autobahn/reports tests/frameworks/.venv
	@rm -rf .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up: a stamp per set of dependencies, renewed when pyproject.toml changes --------------

.venv/.made:
	@if [ -z "$(PYTHON)" ]; then \
		for p in python3 python3.14 python3.13 python3.12 python3.11; do \
			$$p -c '$(NEW_ENOUGH)' 2>/dev/null || continue; \
			[ $$p = python3 ] && package=python3-venv || package=$$p-venv; \
			echo "error: $$p cannot make virtual environments; run: apt-get install $$package" >&2; \
			exit 1; \
		done; \
		if command -v python3 >/dev/null; \
		then echo "error: $$(python3 --version) is too old, 3.11 or newer is needed; run: apt-get install python3.11 python3.11-venv" >&2; \
		else echo "error: Python 3.11 or newer is needed; run: apt-get install python3 python3-venv" >&2; \
		fi; \
		exit 1; \
	fi
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "error: $(PYTHON) is not Python 3.11 or newer" >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.serve: .venv/.made pyproject.toml setup.py $(wildcard hyperserver/protocol/h2/*.p[yx][xdi])
	@echo "installing hyperserver into .venv"
	@$(PIP) install --editable .
	@$(BIN)/python -c 'import hyperserver.protocol.h2._nghttp2' 2>/dev/null || \
		echo "HTTP/2 runs on h2; the nghttp2 engine is faster: apt-get install gcc python3-dev libnghttp2-dev, then make clean"
	@touch $@

.venv/.bench: .venv/.serve
	@echo "installing what the benchmarks need into .venv"
	@$(PIP) install --editable '.[websockets]' starlette fastapi
	@touch $@

.venv/.test: .venv/.serve
	@echo "installing the test tools into .venv"
	@$(PIP) install --editable '.[test]'
	@touch $@

.venv/.fuzz: .venv/.test
	@echo "installing the fuzzer into .venv"
	@$(PIP) install 'atheris>=3.0'
	@touch $@

.venv/.check: .venv/.test
	@echo "installing ruff and mypy into .venv"
	@$(PIP) install --editable '.[test,lint]'
	@touch $@

# Apart from the rest: what frameworks require of each other's libraries must not decide what is tested.
tests/frameworks/.venv/.ready: .venv/.serve tests/frameworks/requirements.txt
	@echo "installing the frameworks into tests/frameworks/.venv"
	@$(BIN)/python -m venv --clear tests/frameworks/.venv
	@tests/frameworks/.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@tests/frameworks/.venv/bin/python tests/frameworks/install.py
	@touch $@
