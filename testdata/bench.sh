#!/bin/bash
# A first run over the Go tree, side by side with tar | zstd -T0: the median ratio
# of the times of five pairs. Both read from the cache and write to one disk, and
# both end when the bytes are on it. tinybackup also takes checksums, reads the
# archive back past the cache, and compares.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/bin/tinybackup
source=$(realpath "$(go env GOROOT)")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export TINYBACKUP_DIR=$dir/tinybackup

# seconds CMD…: how long it takes, with three decimals
seconds() {
	local TIMEFORMAT=%R
	{ time "$@" >/dev/null 2>&1; } 2>&1
}
ours() { mkdir "$dir/ours" && "$bin" --quiet run --name go "$source" "$dir/ours"; }
theirs() {
	mkdir "$dir/theirs"
	tar -cf - -C "$(dirname "$source")" "$(basename "$source")" | zstd -q -T0 -o "$dir/theirs/go.tar.zst"
	sync "$dir/theirs/go.tar.zst"
}

tar -cf - "$source" 2>/dev/null | cat >/dev/null # into the cache
echo "go tree: $(find "$source" | wc -l) files, $(du -sm "$source" | cut -f1) MiB; $(nproc) cores"
echo 'pair  tinybackup  tar|zstd  ratio'
for i in 1 2 3 4 5; do
	a=$(seconds ours)
	b=$(seconds theirs)
	ours=$(du -sb --exclude=.tinybackup "$dir/ours" | cut -f1) theirs=$(stat -c %s "$dir/theirs/go.tar.zst")
	rm -rf "$dir/ours" "$dir/theirs"
	awk -v i="$i" -v a="$a" -v b="$b" 'BEGIN { printf "%4d  %9.2fs  %7.2fs  %5.2f\n", i, a, b, a/b }'
	awk -v a="$a" -v b="$b" 'BEGIN { print a/b }' >>"$dir/ratios"
done
awk -v r="$(sort -n "$dir/ratios" | sed -n 3p)" -v s="$ours" -v t="$theirs" \
	'BEGIN { printf "median ratio %.2f in time, %.2f in size\n", r, s/t }'
