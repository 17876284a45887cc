# Plant one fault at a time in a copy of helpers/ and list those that the module's own tests do not notice.
# Usage: PYTHON=python bash tools/mutants.sh [MODULE ...], such as batch_norm. Compiled loops run as plain Python here.
export NUMBA_DISABLE_JIT=1 PATH="$(dirname "$(realpath -s "${PYTHON:-python3}")"):$PATH"
rm -rf build/mutants && mkdir -p build/mutants
git ls-files -z | xargs -0 cp --parents -t build/mutants
cd build/mutants || exit 1
test $# -gt 0 || set -- loops batch_norm_vectors $(ls tests | sed -n 's/^test_\(.*\)\.py$/\1/p')
for module in "$@"; do
    test -e "helpers/$module.py" || continue
    tests=tests/test_$module.py
    test -e "$tests" || tests="tests/test_batch_norm.py tests/test_cross_correlation.py" # They call the loops.
    cat >"$module.toml" <<END
[cosmic-ray]
module-path = "helpers/$module.py"
timeout = 600.0
excluded-modules = []
test-command = "python -m pytest -x -q --hypothesis-profile=mutants $tests"
distributor.name = "local"
END
    cosmic-ray baseline "$module.toml" && cosmic-ray init "$module.toml" "$module.sqlite" || exit 1
    cosmic-ray exec "$module.toml" "$module.sqlite"
    cr-report --show-diff --surviving-only "$module.sqlite"
done
