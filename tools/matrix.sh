# Run all the tests under one setting after another and list the settings that fail. `make matrix` calls this.
# Usage: PYTHON=python bash tools/matrix.sh [SETTING ...], such as NUMBA_CPU_NAME=generic or read-only.
test $# -gt 0 || set -- ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
    MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=SSE41 NUMBA_CPU_NAME=generic OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 \
    read-only
for setting in "$@"; do
    echo "== $setting"
    command=("${PYTHON:-python3}" -m pytest --nbval -q)
    if test "$setting" = read-only; then # The checkout cannot be written to, nor a cache in it; this needs root.
        command=(unshare --mount sh -c 'mount --bind -o ro . . && cd "$PWD" && exec "$@"' sh "${command[@]}")
    else
        command=(env "$setting" "${command[@]}")
    fi
    "${command[@]}" || failed+=" $setting"
done
echo "Settings that failed:${failed:- none}"
test -z "$failed"
