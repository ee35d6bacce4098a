#!/bin/sh
# Stands in for Python with torch: speaks the protocol of src/bench/torch_step.py.  It is called as
# FAKE SCRIPT CONFIG; the mode in the configuration says how it behaves.
case $2 in
*missing*) echo "missing no module"; exit 0 ;;
*dies*) exit 3 ;;
*babbles*) echo "hello"; exit 0 ;;
esac
[ -s "$1" ] || exit 4                     # the script is there to be read
[ "$(wc -c </dev/fd/3)" -eq 12 ] || exit 5 # and so are three floats
echo "ready fake, $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS threads"
while read -r command; do
    case $command in
    step) echo 0.25 ;;
    loss) echo nonsense; exit 0 ;;
    *) echo 42 ;;
    esac
done
