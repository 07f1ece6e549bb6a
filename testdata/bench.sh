#!/bin/bash
# tinybackup side by side with tar, zstd, xz, pigz, gzip and dd: one table. Each
# row is five pairs of runs, ours and the peer's in turn, and tells the medians of
# the times and of their ratios: 0.10 is ten times as fast as the peer. Nothing of
# it is a test.
#
# Both read from the cache and write to one disk, and both end when the bytes are
# on it. tinybackup also takes checksums, reads each archive back past the cache,
# and compares.
#
# PAIRS=1 is quicker. It needs some 3 GB below TMPDIR.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/bin/tinybackup
pairs=${PAIRS:-5}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
export TINYBACKUP_DIR=$dir/tinybackup LC_ALL=C

# run SOURCE DEST [options]: a backup; its archives are all kept
run() { "$bin" --quiet run --keep all "${@:3}" "$1" "$2"; }
# archive DIR: the newest archive in it
archive() { find "$1" -maxdepth 1 -name '*-*Z*' | sort | tail -1; }
# pack FILE COMMAND…: DIRECTORY to FILE by tar and COMMAND
pack() {
	tar -cf - -C "$(dirname "$input")" "$(basename "$input")" | "${@:2}" >"$1"
	sync "$1"
}

# seconds COMMAND…: how long it takes, with three decimals
seconds() {
	local TIMEFORMAT=%R
	{ time "$@" >/dev/null 2>"$dir/errors"; } 2>&1 || { cat "$dir/errors" >&2; return 1; }
}
middle() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
nothing() { :; }

line() { printf '%-30s %-32s %9s %9s %7s %6s\n' "$@"; }
# row WHAT PEER: the functions before, ours and theirs; $dir/ours and $dir/theirs
# are empty for each unless keep=1, and then sizes are not compared
row() {
	local a b i size=-
	rm -f "$dir"/time.*
	for ((i = 0; i < pairs; i++)); do
		[ "$keep" = 1 ] || rm -rf "$dir/ours" "$dir/theirs"
		mkdir -p "$dir/ours" "$dir/theirs"
		before
		a=$(seconds ours)
		b=$(seconds theirs)
		echo "$a" >>"$dir/time.ours"
		echo "$b" >>"$dir/time.theirs"
		awk -v a="$a" -v b="$b" 'BEGIN { print a / (b > 0.001 ? b : 0.001) }' >>"$dir/time.ratio"
	done
	[ "$keep" = 1 ] || size=$(awk -v a="$(stat -c %s "$(archive "$dir/ours")")" -v b="$(stat -c %s "$dir/theirs/peer")" 'BEGIN { printf "%.2f", a / b }')
	line "$1" "$2" "$(middle <"$dir/time.ours" | awk '{ printf "%.2fs", $1 }')" "$(middle <"$dir/time.theirs" | awk '{ printf "%.2fs", $1 }')" \
		"$(middle <"$dir/time.ratio" | awk '{ printf "%.2f", $1 }')" "$size"
}

# The inputs.
tree=$dir/go part=$dir/go/src/net big=$dir/big image=$dir/image
cp -a "$(realpath "$(go env GOROOT)")" "$tree"
rm -rf "$tree/pkg"
mkdir "$big"
find "$(realpath "$(go env GOROOT)")/bin" "$(go env GOTOOLDIR)" "$bin" -type f -size +1M -exec cp {} "$big" \;
find /usr/bin /usr/lib -xdev -type f -size +8M 2>/dev/null | sort | awk 'NR <= 20' | while read -r file; do
	[ "$(du -sm "$big" | cut -f1)" -ge 512 ] || cp "$file" "$big" 2>/dev/null || true
done
truncate -s 1G "$image"
at=0
for file in "$big"/*; do
	[ "$at" -lt 960 ] || break
	dd if="$file" of="$image" bs=1M count=16 seek="$at" conv=notrunc status=none
	at=$((at + 96))
done
sync -f "$dir"
sleep 3 # what is younger than its backup would be read again
cat "$image" "$big"/* >/dev/null
tar -cf - "$tree" 2>/dev/null | cat >/dev/null

version() { "$1" --version 2>&1 | grep -o '[0-9][0-9]*\.[0-9.]*[0-9]' | awk 'NR == 1'; }
echo "$(nproc) cores; tar $(version tar), zstd $(version zstd), xz $(version xz); median of $pairs"
echo "go tree: $(find "$tree" | wc -l) files, $(du -sm "$tree" | cut -f1) MiB; binaries: $(du -sm "$big" | cut -f1) MiB;" \
	"image: 1024 MiB, $(du -sm "$image" | cut -f1) of them data"
echo
line what peer tinybackup peer ratio size
before() { nothing; }
keep=0

input=$tree
ours() { run "$input" "$dir/ours"; }
theirs() { pack "$dir/theirs/peer" zstd -q -T0; }
row 'go tree, first run, zstd' 'tar | zstd -T0'
input=$big
row 'binaries, first run, zstd' 'tar | zstd -T0'

input=$part
ours() { run "$input" "$dir/ours" --compress xz; }
theirs() { pack "$dir/theirs/peer" xz -T0; }
row 'src/net, first run, xz' 'tar | xz -T0'

if command -v pigz >/dev/null; then
	input=$tree
	ours() { run "$input" "$dir/ours" --compress gzip; }
	theirs() { pack "$dir/theirs/peer" pigz; }
	row 'go tree, first run, gzip' 'tar | pigz'
fi

input=$image
ours() { run "$input" "$dir/ours"; }
theirs() {
	dd if="$input" bs=4M status=none | zstd -q -T0 >"$dir/theirs/peer"
	sync "$dir/theirs/peer"
}
row 'image, first run, zstd' 'dd | zstd -T0'
theirs() {
	dd if="$input" bs=4M status=none | gzip >"$dir/theirs/peer"
	sync "$dir/theirs/peer"
}
ours() { run "$input" "$dir/ours" --compress gzip; }
row 'image, first run, gzip' 'dd | gzip'

# From here on, there is an archive already.
keep=1 input=$tree
rm -rf "$dir/ours" "$dir/theirs"
mkdir "$dir/ours" "$dir/theirs"
run "$tree" "$dir/ours"
ours() { run "$input" "$dir/ours"; }
theirs() { pack "$dir/theirs/peer" zstd -q -T0; }
before() { sleep 1; } # a name has whole seconds
row 'go tree, nothing changed' 'tar | zstd -T0'
before() { sleep 1 && echo "// $RANDOM" >>"$tree/src/fmt/print.go"; }
row 'go tree, 1 file changed' 'tar | zstd -T0'
find "$tree" -type f | sort | awk 'NR % 100 == 0' >"$dir/hundredth"
before() { sleep 1 && while read -r file; do echo "// $RANDOM" >>"$file"; done <"$dir/hundredth"; }
row 'go tree, 1 % of files changed' 'tar | zstd -T0'
before() { sleep 1 && while read -r file; do echo "// $RANDOM" >>"$file"; done <"$dir/together"; }
find "$tree/src/cmd" -type f | sort | awk -v n="$(wc -l <"$dir/hundredth")" 'NR <= n' >"$dir/together"
row 'go tree, 1 % side by side' 'tar | zstd -T0'

before() { rm -rf "$dir/back" && mkdir "$dir/back"; }
ours() { "$bin" --quiet restore "$dir/ours" "$dir/back/ours"; }
theirs() {
	mkdir "$dir/back/theirs"
	zstd -dc "$dir/theirs/peer" | tar -xpf - -C "$dir/back/theirs"
	sync -f "$dir/back/theirs"
}
row 'go tree, restore everything' 'zstd -dc | tar -x'
ours() { "$bin" --quiet restore "$dir/ours" "$dir/back/ours" src/fmt/print.go; }
theirs() {
	zstd -dc "$dir/theirs/peer" | tar -xpf - -C "$dir/back" go/src/fmt/print.go
	sync "$dir/back/go/src/fmt/print.go"
}
row 'go tree, restore one file' 'zstd -dc | tar -x FILE'

# Peak memory, of one run.
if [ -x /usr/bin/time ]; then
	peak() { # COMMAND…: in MiB
		/usr/bin/time -f %M -o "$dir/peak" "$@" >/dev/null
		awk 'END { printf "%dMiB", ($1 + 1023) / 1024 }' "$dir/peak"
	}
	for codec in zstd xz; do
		input=$tree
		[ $codec = zstd ] || input=$part
		rm -rf "$dir/ours" && mkdir "$dir/ours"
		tar -cf "$dir/plain.tar" -C "$(dirname "$input")" "$(basename "$input")"
		a=$(peak "$bin" --quiet run --compress $codec "$input" "$dir/ours")
		b=$(peak "$codec" -q -T0 -c "$dir/plain.tar")
		line "peak memory, $codec" "$codec -T0" "$a" "$b" "$(awk -v a="${a%MiB}" -v b="${b%MiB}" 'BEGIN { printf "%.2f", a / b }')" -
	done
fi
