# Everything that one does in a clone. `make` alone says what there is.
#
# Debian packages are installed where they are missing (sudo is asked only then, and for containers); Python packages go,
# by their hashes, into build/venv. All that is made lies below build/ and, as containers, in podman.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

BUILD := $(CURDIR)/build
VENV := $(BUILD)/venv
PYTHON ?= /usr/bin/python3
UV := $(BUILD)/uv/bin/uv
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SCENARIO ?= default

PYTHON_PACKAGES := ca-certificates python3 python3-venv
TYPING := $(BUILD)/typing/postoffice_directory $(BUILD)/typing/postoffice_config_tree
HOST_PACKAGES := aardvark-dns iptables mmdebstrap netavark openssh-client podman runc

# Every tool is the checkout's own, looks at the checkout's own files, and leaves its traces below build/.
export PATH := $(VENV)/bin:$(PATH)
export LC_ALL := C.UTF-8
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(BUILD)/farm
export ANSIBLE_HOME := $(BUILD)/ansible
export MOLECULE_GLOB := molecule/*/molecule.yml
export MOLECULE_COMMAND_BORDERS := false
export MYPYPATH := $(BUILD)/farm
export PYTHONPATH := $(BUILD)/farm
export PYTHONDONTWRITEBYTECODE := 1
export PYTHONUNBUFFERED := 1
export UV_SYSTEM_CERTS := 1
export RUFF_CACHE_DIR := $(BUILD)/cache/ruff
export MYPY_CACHE_DIR := $(BUILD)/cache/mypy
unexport VIRTUAL_ENV PYTHONHOME

.PHONY: help
help: ## Say what there is
	@echo 'make TARGET, where TARGET is one of:'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.PHONY: demo demo-down
demo: hosts ## Boot a mail server, send mail through it, and leave it up to play with
	@python tools/demo.py

demo-down: python ## Remove the demo's mail server
	@python tools/hosts.py down demo

.PHONY: test test-unit test-host test-host-down test-runs mutation lint
test: hosts $(BUILD)/importer.stamp ## Run everything: lint, sanity, unit tests, all scenarios on real hosts
	@python tools/parts.py all

test-unit: python ## Run the unit tests (ARGS="-k word" for some)
	@python -m pytest tests/unit $(ARGS)

test-host: hosts ## Deploy and test one scenario: SCENARIO=default, full or debian12
	@python tools/parts.py --show scenario:$(SCENARIO)

test-host-down: python ## Remove the hosts of one scenario
	@python tools/hosts.py down $(SCENARIO)

test-runs: hosts ## Try whole runs: check mode, roles alone, installation, interruptions (ARGS="-m 'not long'" for a part)
	@python -m pytest tests/runs $(ARGS)

mutation: python ## Break the directory's schema, or a host's Postfix (ARGS=postfix), and see which tests notice
	@python -m ansible_collections.postoffice.mail.tests.mutation $(ARGS)

lint: python $(BUILD)/importer.stamp ## Run every static check; one of them: make lint-NAME
	@python tools/parts.py lint

lint-importer: $(BUILD)/importer.stamp

lint-%: python
	@python tools/parts.py --show lint:$*

# npm carries the corpus of real mail; Debian's is taken where there is none.
bench-mail: hosts
	@command -v npm >/dev/null || { $(call debian-packages,npm); }
	@python -m ansible_collections.postoffice.mail.tests.bench.mail $(ARGS)

bench-bayes: hosts
	@command -v npm >/dev/null || { $(call debian-packages,npm); }
	@python -m ansible_collections.postoffice.mail.tests.bench.bayes $(ARGS)

bench-%: hosts
	@python -m ansible_collections.postoffice.mail.tests.bench.$*

.PHONY: collection-path
collection-path: $(BUILD)/farm/ansible_collections/postoffice/mail ## Print the ANSIBLE_COLLECTIONS_PATH of this clone
	@echo "$(BUILD)/farm"

.PHONY: format shell docs changelog lock clean
format: python ## Format the Python code
	@ruff check --fix-only --quiet . || true
	@ruff format .

shell: python ## Open a shell with the tools and settings of this clone
	@exec bash

docs: python ## Generate the references of modules and roles
	@python tools/references.py

changelog: python ## Write the changelog of the version in galaxy.yml from its fragments
	@antsibull-changelog release --update-existing

lock: python ## Pin the newest versions of the development requirements
	@cd requirements; for each in bootstrap dev importer; do \
	  "$(UV)" pip compile --quiet --upgrade --universal --fork-strategy requires-python --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header --output-file $$each.txt $$each.in; \
	done

clean: ## Remove all hosts, base images and everything below build/
	@if [ -x "$(VENV)/bin/python" ]; then "$(VENV)/bin/python" tools/hosts.py down --images; fi
	@rm -rf "$(BUILD)" .ansible

# What the targets above stand on. Each finds out by itself whether there is something left to do.

# $(call debian-packages,NAMES) installs those of them that are missing.
define debian-packages
missing=(); \
for name in $(1); do \
  [ "$$(dpkg-query --show --showformat='$${db:Status-Status}' $$name 2>/dev/null)" = installed ] || missing+=($$name); \
done; \
if [ $${#missing[@]} -gt 0 ]; then \
  echo "installing Debian packages: $${missing[*]}"; \
  $(SUDO) apt-get -qq update; \
  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$${missing[@]}" >/dev/null; \
fi
endef

.PHONY: python hosts
python: $(BUILD)/python.stamp $(BUILD)/farm/ansible_collections/postoffice/mail $(TYPING)

hosts: python
	@$(call debian-packages,$(HOST_PACKAGES))

$(UV): requirements/bootstrap.txt
	@$(call debian-packages,$(PYTHON_PACKAGES))
	@echo 'making build/uv ...'
	@mkdir -p "$(BUILD)"
	@"$(PYTHON)" -m venv "$(BUILD)/uv"
	@"$(BUILD)/uv/bin/pip" --quiet install --require-hashes --requirement requirements/bootstrap.txt
	@touch "$@"

# $(call python-packages,VENV,REQUIREMENTS) makes the environment and installs what is required into it. uv does not read
# pip's settings; where packages come from is said to it.
define python-packages
echo 'making $(patsubst $(CURDIR)/%,%,$(1)) ...'; \
[ -x "$(1)/bin/python" ] || "$(UV)" venv --quiet --python "$(PYTHON)" "$(1)"; \
index=$$("$(BUILD)/uv/bin/pip" config get global.index-url 2>/dev/null || true); \
index=$${PIP_INDEX_URL:-$$index}; \
$${index:+env UV_DEFAULT_INDEX="$$index"} "$(UV)" pip install --quiet --python "$(1)/bin/python" \
  --require-hashes --requirements "$(2)"
endef

$(BUILD)/python.stamp: requirements/dev.txt | $(UV)
	@$(call python-packages,$(VENV),$<)
	@touch "$@"

# galaxy-importer does not go together with the rest.
$(BUILD)/importer.stamp: requirements/importer.txt | $(UV)
	@$(call python-packages,$(BUILD)/importer,$<)
	@touch "$@"

# Ansible finds the collection by a folder named after it.
$(BUILD)/farm/ansible_collections/postoffice/mail:
	@mkdir -p "$(@D)"
	@ln -sfn ../../../.. "$@"

# On a host the libraries are packages of these names; mypy and the unit tests find them here.
$(TYPING): $(BUILD)/typing/postoffice_%:
	@mkdir -p "$(@D)"
	@ln -sfn "../../plugins/module_utils/$*" "$@"
