#!/bin/bash
# tinybackup side by side with tar, dd, dar, borg and restic: one table. Nothing
# of it is a test.
#
# Each row is PAIRS pairs of runs (5, of slow rows fewer: column n), ours and the
# peer's in turn. It tells the medians of the times, of ours / theirs (0.10 is ten
# times as fast), and of the sizes alike; and the aim, where there is one. Both
# read from the cache and write to one disk, and end when the bytes are on it.
# tinybackup also reads each archive back past the cache, and compares.
#
# ROWS is a regular expression for the first column: only such rows are made.
# BIG_MIB (2048) and IMAGE_MIB (4096) are the sizes of two of the inputs; it takes
# about twice the sum of both below TMPDIR, and 20 minutes on two idle cores. All
# that it writes is below a temporary directory, the peers' caches too.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pairs=${PAIRS:-5} big_mib=${BIG_MIB:-2048} image_mib=${IMAGE_MIB:-4096} rows=${ROWS:-.}
goroot=$(realpath "$(go env GOROOT)") gotools=$(go env GOTOOLDIR)
dir=$(mktemp -d)
card='' card_fat='' card_ext4=''
trap 'for device in $card $card_fat $card_ext4; do losetup -d "$device"; done; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
export bin=$PWD/bin/tinybackup dir LC_ALL=C HOME=$dir/home TINYBACKUP_DIR=$dir/tinybackup
export BORG_BASE_DIR=$dir/home BORG_CACHE_DIR=$dir/home/borg BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
export RESTIC_CACHE_DIR=$dir/home/restic RESTIC_PASSWORD=bench
mkdir "$HOME"

# ---- What is compared. Each WHO has WHO_new (a place for archives, not timed),
# ---- WHO_backup INPUT, WHO_restore INPUT, WHO_one INPUT FILE and WHO_verify.
# ---- $dir/WHO is its place, and $dir/back is empty, for what is restored.

ours_new() { rm -rf "$dir/ours" && mkdir "$dir/ours"; }
ours_backup() { "$bin" --quiet run --keep all "${@:2}" "$1" "$dir/ours"; }
ours_xz() { ours_backup "$1" --compress xz; }
ours_gzip() { ours_backup "$1" --compress gzip; }
ours_restore() { "$bin" --quiet restore "$dir/ours" "$dir/back/ours"; }
ours_one() { "$bin" --quiet restore "$dir/ours" "$dir/back/ours" "$2"; }
ours_verify() { "$bin" --quiet verify "$(newest "$dir/ours")"; }
newest() { find "$1" -maxdepth 1 -name '*-*Z*' | sort | tail -1; }

pack() { # INPUT COMMAND…: by tar and COMMAND
	tar -cf - -C "$(dirname "$1")" "$(basename "$1")" | "${@:2}" >"$dir/tar/archive"
	sync "$dir/tar/archive"
}
image() { # INPUT COMMAND…: by dd and COMMAND
	dd if="$1" bs=4M status=none | "${@:2}" >"$dir/tar/archive"
	sync "$dir/tar/archive"
}
tar_new() { rm -rf "$dir/tar" && mkdir "$dir/tar"; }
tar_backup() { pack "$1" zstd -q -T0; }
tar_xz() { pack "$1" xz -T0; }
tar_pigz() { pack "$1" pigz; }
dd_new() { tar_new; }
dd_zstd() { image "$1" zstd -q -T0; }
dd_gzip() { image "$1" gzip; }
# Partition by partition, the used blocks only; neither keeps what is between them.
dd_partclone() {
	{ partclone.fat32 -c -s "$card_fat" -L "$dir/log"; partclone.ext4 -c -s "$card_ext4" -L "$dir/log"; } 2>/dev/null | zstd -q -T0 >"$dir/tar/archive"
	sync "$dir/tar/archive"
}
dd_e2image() {
	{ dd if="$card_fat" bs=4M status=none; e2image -ra "$card_ext4" - 2>/dev/null; } | zstd -q -T0 >"$dir/tar/archive"
	sync "$dir/tar/archive"
}
tar_restore() {
	zstd -dc "$dir/tar/archive" | tar -xpf - -C "$dir/back"
	sync -f "$dir/back"
}
tar_one() {
	zstd -dc "$dir/tar/archive" | tar -xpf - -C "$dir/back" "$(basename "$1")/$2"
	sync -f "$dir/back"
}
tar_verify() { zstd -qt "$dir/tar/archive" && zstd -dc "$dir/tar/archive" | tar -tf -; }

# Threads, if this dar has them. Its second backup is a differential one.
dar_flags=(-Q -q -zzstd:3)
if dar -V 2>/dev/null | grep -q 'threads.*YES'; then dar_flags=(-Q -q -zzstd:3:1M -G "$(nproc)"); fi
dar_new() { rm -rf "$dir/dar" && mkdir "$dir/dar"; }
dar_backup() {
	local name=full base=()
	if [ -e "$dir/dar/full.1.dar" ]; then
		name=diff base=(-A "$dir/dar/full")
		rm -f "$dir"/dar/diff.*
	fi
	dar -c "$dir/dar/$name" "${base[@]}" -R "$(dirname "$1")" -g "$(basename "$1")" "${dar_flags[@]}"
	sync "$dir/dar/$name.1.dar"
}
dar_restore() { dar -x "$dir/dar/full" -R "$dir/back" -Q -q -O && sync -f "$dir/back"; }
dar_one() { dar -x "$dir/dar/full" -R "$dir/back" -g "$(basename "$1")/$2" -Q -q -O && sync -f "$dir/back"; }
dar_verify() { dar -t "$dir/dar/full" -Q -q; }

borg_new() { rm -rf "$dir/borg" && borg init -e none "$dir/borg"; }
borg_backup() { (cd "$(dirname "$1")" && borg create -C zstd,3 "$dir/borg::$(date +%s%N)" "$(basename "$1")"); }
borg_last() { borg list --short --last 1 "$dir/borg"; }
borg_restore() { (cd "$dir/back" && borg extract "$dir/borg::$(borg_last)") && sync -f "$dir/back"; }
borg_one() { (cd "$dir/back" && borg extract "$dir/borg::$(borg_last)" "$(basename "$1")/$2") && sync -f "$dir/back"; }
borg_verify() { borg check --verify-data "$dir/borg"; }

restic_new() { rm -rf "$dir/restic" && restic -q -r "$dir/restic" init; }
restic_backup() { restic -q -r "$dir/restic" backup "$1"; }
restic_restore() { restic -q -r "$dir/restic" restore latest --target "$dir/back" && sync -f "$dir/back"; }
restic_one() { restic -q -r "$dir/restic" restore latest --target "$dir/back" --include "$1/$2" && sync -f "$dir/back"; }
restic_verify() { restic -q -r "$dir/restic" check --read-data; }

# ---- The table.

number() { awk -v a="$1" 'BEGIN { printf a < 0.1 ? "%.3f" : "%.2f", a }'; }
line() { printf '%-32s %-24s %9s %9s %6s %5s %2s  %s\n' "$@" | sed 's/ *$//'; }
middle() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
divide() { awk -v a="$1" -v b="$2" 'BEGIN { print a / (b > 0.001 ? b : 0.001) }'; }
# aim RATIO SIZE MOST [MOST_SIZE]: says whether it is met; nothing without an aim
aim() {
	[ -n "${3:-}" ] || return 0
	awk -v r="$1" -v s="$2" -v m="$3" -v n="${4:-}" 'BEGIN {
		printf "aim <= %s%s: %s", m, n ? ", size <= " n : "", r <= m && (!n || s <= n) ? "met" : "not met" }'
}
# seconds COMMAND…: how long it takes, with three decimals
seconds() {
	local TIMEFORMAT=%R
	{ time "$@" >"$dir/output" 2>&1; } 2>&1 || { cat "$dir/output" >&2; return 1; }
}
bytes() { find "$dir/$1" -type f -size +0 -printf '%s\n' | awk '{ n += $1 } END { printf "%.0f", n }'; }
nothing() { :; }
have() { command -v "$1" >/dev/null || { line "$what" "$1" - - - - - 'not installed'; return 1; }; }

# compare LABEL WHO N OURS THEIRS AIM…: N pairs of the commands OURS and THEIRS,
# after $before; fresh=1: into new places each time, and sizes are compared
compare() {
	local label=$1 who=$2 n=$3 a b i size=-
	wanted || return 0
	rm -f "$dir"/time.*
	for ((i = 0; i < n; i++)); do
		if [ "$fresh" = 1 ]; then ours_new && "${who}_new" >/dev/null; fi
		rm -rf "$dir/back" && mkdir "$dir/back"
		$before
		a=$(seconds $4)
		b=$(seconds $5)
		echo "$a" >>"$dir/time.ours"
		echo "$b" >>"$dir/time.theirs"
		divide "$a" "$b" >>"$dir/time.ratio"
	done
	[ "$fresh" = 0 ] || size=$(divide "$(bytes ours)" "$(bytes "${who/dd/tar}")")
	local ratio
	ratio=$(middle "$dir/time.ratio")
	line "$what" "$label" "$(number "$(middle "$dir/time.ours")")s" "$(number "$(middle "$dir/time.theirs")")s" \
		"$(number "$ratio")" "$([ "$size" = - ] && echo - || number "$size")" "$n" "$(aim "$ratio" "$size" "${@:6}")"
}
wanted() { [[ $what =~ $rows ]]; }
few() { echo $((pairs < $1 ? pairs : $1)); }

# memory LABEL OURS THEIRS: the peak of the largest process of one run each, in MiB
memory() {
	local a b
	wanted || return 0
	a=$(peak "$2")
	b=$(peak "$3")
	line "$what" "$1" "${a}MiB" "${b}MiB" "$(number "$(divide "$a" "$b")")" - 1 \
		"$(awk -v a="$a" 'BEGIN { print "aim < 200MiB: " (a < 200 ? "met" : "not met") }')"
}
peak() {
	/usr/bin/time -f %M -o "$dir/peak" bash -c "set -e -o pipefail; $1" >"$dir/output" 2>&1 || { cat "$dir/output" >&2; return 1; }
	awk 'END { printf "%d", ($1 + 1023) / 1024 }' "$dir/peak"
}

# ---- The inputs.

make_tree() {
	cp -a "$goroot" "$tree"
	rm -rf "$tree/pkg" "$tree/.git"
}
# make_big: binaries of this machine. When there are no more, they come again with
# every byte shifted: as hard to compress, and no repeats.
make_big() {
	local shift=0 n=0 file list
	list=$(find "$goroot/bin" "$gotools" "$bin" /usr/bin /usr/lib /usr/libexec -xdev -type f -size +1M 2>/dev/null | sort)
	mkdir "$big"
	while :; do
		while read -r file; do
			[ "$(du -sm "$big" | cut -f1)" -lt "$big_mib" ] || return 0
			if [ $shift = 0 ]; then
				cat "$file"
			else
				tr '\000-\377' "$(printf '\\%03o-\\377\\000-\\%03o' $shift $((shift - 1)))" <"$file"
			fi >"$big/$((n++)).bin" 2>/dev/null || true
		done <<<"$list"
		shift=$((shift + 37))
	done
}
# big_files: the binaries one after the other, in the same order however many
big_files() { (cd "$big" && find . -name '*.bin' | sort -V | xargs cat 2>/dev/null) || true; }
# make_image: a third of it data, the rest never written
make_image() {
	local at
	truncate -s "${image_mib}M" "$image"
	big_files | {
		for ((at = 0; at + 16 <= image_mib; at += 48)); do
			dd of="$image" bs=1M count=16 seek="$at" conv=notrunc iflag=fullblock status=none
		done
		cat >/dev/null
	}
}
# make_card: a device of 2 GiB like a Raspberry Pi's card: MBR, FAT32 of 256 MiB,
# ext4. Much was written to it, and most of that is deleted again.
make_card() {
	local n part
	truncate -s 2G "$dir/card"
	printf '%b' '\0\0\0\0\x0c\0\0\0\0\x08\0\0\0\0\x08\0' '\0\0\0\0\x83\0\0\0\0\x08\x08\0\0\xf8\x37\0' |
		dd of="$dir/card" bs=1 seek=446 conv=notrunc status=none
	printf '%b' '\x55\xaa' | dd of="$dir/card" bs=1 seek=510 conv=notrunc status=none
	part=$(losetup -f --show -o 1M --sizelimit 256M "$dir/card")
	mkfs.fat -F 32 "$part" >/dev/null 2>&1
	big_files | {
		for n in 1 2 3 4 5 6; do dd bs=1M count=30 iflag=fullblock status=none | mcopy -i "$part" - "::/$n.bin" 2>/dev/null; done
		cat >/dev/null
	}
	for n in 1 3 5; do mdel -i "$part" "::/$n.bin" 2>/dev/null; done
	losetup -d "$part"
	part=$(losetup -f --show -o 257M "$dir/card")
	mkfs.ext4 -q "$part"
	mkdir "$dir/mnt"
	mount "$part" "$dir/mnt"
	for n in 1 2 3 4 5; do cp -a "$tree" "$dir/mnt/$n"; done
	sync -f "$dir/mnt"
	rm -rf "$dir"/mnt/[1245]
	umount "$dir/mnt"
	losetup -d "$part"
	card_fat=$(losetup -f --show -o 1M --sizelimit 256M "$dir/card")
	card_ext4=$(losetup -f --show -o 257M "$dir/card")
	card=$(losetup -f --show "$dir/card")
}
# make_gib: small files between large ones, about 1 GiB
make_gib() {
	local file
	mkdir "$gib"
	for file in "$big"/*; do
		[ "$(du -sm "$gib" | cut -f1)" -lt 800 ] || break
		cp "$file" "$gib"
	done
	cp -a "$tree/src" "$gib/src"
}
touch_files() { # LIST: adds a line to each
	sleep 1
	while read -r file; do echo "// $RANDOM" >>"$file"; done <"$1"
}
change_one() { touch_files "$dir/one"; }
change_hundredth() { touch_files "$dir/hundredth"; }
change_together() { touch_files "$dir/together"; }

tree=$dir/go part=$dir/go/src/net big=$dir/big image=$dir/image gib=$dir/gib
make_tree
make_big
make_image
make_gib
[ "$(id -u)" != 0 ] || [ "$big_mib" -lt 256 ] || make_card
head -c "$((image_mib < 512 ? image_mib : 512))M" "$image" >"$image.start"
echo "$part/http/server.go" >"$dir/one"
find "$tree" -type f | sort | awk 'NR % 100 == 0' >"$dir/hundredth"
find "$tree/src/cmd" -type f | sort | awk -v n="$(wc -l <"$dir/hundredth")" 'NR <= n' >"$dir/together"
sync -f "$dir"
sleep 3 # what is younger than its backup would be read again

version() { # TOOL [OPTION]: with its name
	local number=missing
	! command -v "$1" >/dev/null || number=$("$1" "${2:---version}" 2>&1 | grep -o '[0-9][0-9]*\.[0-9.]*[0-9]' | awk 'NR == 1')
	printf '%s %s' "$1" "$number"
}
echo "$(nproc) cores; $(version tar), $(version zstd), $(version xz), $(version pigz), $(version gzip), $(version dar), $(version borg), $(version restic version), $(version partclone.ext4 -v), $(version e2image -V)"
echo "go tree: $(find "$tree" | wc -l) files, $(du -sm "$tree" | cut -f1) MiB; src/net: $(find "$part" | wc -l) files of it, $(du -sm "$part" | cut -f1) MiB;" \
	"binaries: $(du -sm "$big" | cut -f1) MiB; image: $image_mib MiB, $(du -sm "$image" | cut -f1) of them data;" \
	"mixed: $(find "$gib" | wc -l) files, $(du -sm "$gib" | cut -f1) MiB"
case $(command -v dar)${dar_flags[*]} in '-Q'* | *-G*) ;; *) echo 'this dar has no threads: one core' ;; esac
echo
line what peer tinybackup peer ratio size n ''

# ---- First runs.

before=nothing fresh=1
what='go tree, first run'
compare 'tar | zstd -T0' tar "$pairs" "ours_backup $tree" "tar_backup $tree" 1.00 1.05
have pigz && compare 'tar | pigz (ours: gzip)' tar "$pairs" "ours_gzip $tree" "tar_pigz $tree"
for peer in dar borg restic; do
	have $peer && compare $peer $peer "$(few 3)" "ours_backup $tree" "${peer}_backup $tree"
done
what='src/net (xz is slow), first run'
compare 'tar | xz -T0 (ours: xz)' tar "$(few 3)" "ours_xz $part" "tar_xz $part"
what='binaries, first run'
compare 'tar | zstd -T0' tar "$(few 3)" "ours_backup $big" "tar_backup $big" 1.00 1.05
for peer in dar borg restic; do
	have $peer && compare $peer $peer 1 "ours_backup $big" "${peer}_backup $big"
done
what='image, first run'
compare 'dd | zstd -T0' dd "$(few 3)" "ours_backup $image" "dd_zstd $image" 1.00 1.05
for peer in borg restic; do
	have $peer && compare $peer $peer 1 "ours_backup $image" "${peer}_backup $image"
done
what='used card, first run'
if [ -n "$card" ]; then
	compare 'dd | zstd -T0' dd "$(few 3)" "ours_backup $card" "dd_zstd $card" 0.33 0.33
	compare 'dd | gzip' dd 1 "ours_backup $card" "dd_gzip $card" 0.04 0.33
	have partclone.ext4 && compare 'partclone | zstd -T0' dd "$(few 3)" "ours_backup $card" "dd_partclone"
	have e2image && compare 'e2image | zstd -T0' dd "$(few 3)" "ours_backup $card" "dd_e2image"
else
	line "$what" 'dd | zstd -T0' - - - - - 'not root'
fi
what="image's start (slow), first run"
compare 'dd | gzip (ours: gzip)' dd 1 "ours_gzip $image.start" "dd_gzip $image.start"

# ---- Second runs: there is an archive already.

fresh=0
# again PEER: both have an archive of the tree
again() {
	ours_new && "$1_new" >/dev/null
	ours_backup "$tree" && "$1_backup" "$tree" >/dev/null
	sleep 3
}
for change in nothing one hundredth together; do
	aim=
	case $change in
	nothing) what='go tree, nothing changed' before=nothing aim=0.067 ;;
	one) what='go tree, 1 file changed' before=change_one aim=0.2 ;;
	hundredth) what='go tree, 1 % changed' before=change_hundredth ;;
	together) what='go tree, 1 % side by side' before=change_together ;;
	esac
	again tar
	ours_backup "$tree"
	compare 'tar | zstd -T0' tar "$pairs" "ours_backup $tree" "tar_backup $tree" $aim
	[ $change != together ] || continue
	for peer in dar borg restic; do
		have $peer || continue
		again $peer
		compare $peer $peer "$(few 3)" "ours_backup $tree" "${peer}_backup $tree"
	done
done
what='src/net, 1 file changed' before=change_one
for codec in backup xz; do
	label='tar | xz -T0' aim=0.01
	[ $codec != xz ] || label='tar | xz (ours: xz)' aim=
	ours_new && tar_new && ours_$codec "$part" && sleep 3
	compare "$label" tar "$(few 3)" "ours_$codec $part" "tar_xz $part" $aim
done

# ---- Back again.

before=nothing
have_archive() { # PEER INPUT: both have one of INPUT
	ours_new && "$1_new" >/dev/null
	ours_backup "$2" && "$1_backup" "$2" >/dev/null
}
for peer in tar dar borg restic; do
	label=$peer n=$(few 3) most=
	[ $peer != tar ] || label='zstd -dc | tar -x' n=$pairs most=0.05
	what='go tree, restore everything'
	have $peer || continue
	have_archive $peer "$tree"
	compare "$label" $peer "$n" "ours_restore $tree" "${peer}_restore $tree"
	what='go tree, verify'
	compare "${label/tar -x/tar -t}" $peer "$n" ours_verify "${peer}_verify"
	what='mixed, restore one file'
	have_archive $peer "$gib"
	compare "$label" $peer "$n" "ours_one $gib src/net/http/server.go" "${peer}_one $gib src/net/http/server.go" $most
done

# ---- Memory.

what='peak memory'
if [ ! -x /usr/bin/time ]; then
	line "$what" /usr/bin/time - - - - - 'not installed'
	exit 0
fi
set -a # the functions, too
eval "$(declare -f)"
set +a
for peer in tar dar borg restic; do
	label=$peer
	[ $peer != tar ] || label='tar | zstd -T0'
	what='peak memory, go tree'
	have $peer || continue
	ours_new && "${peer}_new" >/dev/null
	memory "$label" "ours_backup $tree" "$(declare -p dar_flags); ${peer}_backup $tree"
	what='peak memory, binaries'
	[ $peer != tar ] || memory "$label" "ours_backup $big" "tar_backup $big"
done
what='peak memory, src/net'
ours_new && tar_new
memory 'tar | xz -T0 (ours: xz)' "ours_xz $part" "tar_xz $part"
what='peak memory, restore'
tar_new && have_archive tar "$big" && rm -rf "$dir/back" && mkdir "$dir/back"
memory 'zstd -dc | tar -x' "ours_restore $big" "tar_restore $big"
