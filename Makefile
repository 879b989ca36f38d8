.DELETE_ON_ERROR:
PY := .venv/bin/python
PROTOS := common/v1/common vim/v1/vim nfvo/v1/nfvo

.PHONY: stubs
stubs: ## generate vnfm/pb from protos/
	$(PY) tools/stubs.py .
