# Daily acts. `make check` is what CI runs after the README's two commands.
.PHONY: check format test bench

check:
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo
	pytest

format:
	ruff check --fix .
	ruff format .

test:
	pytest -m "not slow"

bench:
	mkdir -p bench/results
	python bench/loadgen.py --json bench/results/loadgen.json
	python bench/system_overhead.py --json bench/results/system_overhead.json
	python bench/reference_parity.py --json bench/results/reference_parity.json
	python bench/embedding.py --json bench/results/embedding.json
	python bench/dlrm.py --json bench/results/dlrm.json
	python bench/criteo_sized.py --json bench/results/criteo_sized.json
	python bench/federated.py --json bench/results/federated.json
	python bench/federated_regret.py --json bench/results/federated_regret.json
