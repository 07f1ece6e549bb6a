#!/bin/bash
# What is sent to S3: tinybackup side by side with restic, rclone and a plain
# upload, by a proxy on loopback that counts. Nothing of it is a test.
#
# The input is Go's own tree, some 200 MB: backed up for the first time, once more
# with nothing changed, and once more after 1 % of its files, side by side, have got
# a line each. It takes some minutes, and 1 GB below TMPDIR.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
goroot=$(realpath "$(go env GOROOT)") # before HOME is another
server=$(command -v versitygw || echo "$(go env GOPATH)/bin/versitygw")
go build -o "$dir/count" testdata/count.go
export bin=$PWD/bin/tinybackup LC_ALL=C HOME=$dir/home TINYBACKUP_DIR=$dir/tinybackup
unset "${!AWS_@}"
export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export RESTIC_CACHE_DIR=$dir/home/restic RESTIC_PASSWORD=bench
tree=$dir/go archive=$dir/go.tar.zst
mkdir "$HOME" "$dir/buckets" "$dir/meta"

coproc COUNT {
	ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
		"$dir/count" "$server" --port @ --quiet posix --sidecar "$dir/meta" "$dir/buckets"
}
counting=$COUNT_PID
end() { # what reads our end of the pipe ends with it
	exec {COUNT[1]}>&-
	wait "$counting"
	rm -rf "$dir"
}
trap end EXIT
trap 'exit 130' INT TERM
read -r proxy told <&"${COUNT[0]}"
export RCLONE_CONFIG_S3_TYPE=s3 RCLONE_CONFIG_S3_PROVIDER=Other RCLONE_CONFIG_S3_ENV_AUTH=true
export RCLONE_CONFIG_S3_ENDPOINT=http://$proxy RCLONE_CONFIG=/dev/null

# ---- What is compared. Each WHO has WHO_backup; restic needs a repository first.

ours_backup() { "$bin" --quiet run --keep all "$tree" "s3+http://$proxy/bench/ours"; }
restic_backup() { restic -q -r "s3:http://$proxy/bench/restic" backup "$tree"; }
# An archive that is made here, as a file; and one that nobody keeps here.
pack() { tar -cf - -C "$dir" go | zstd -q -T0; }
copy_backup() { pack >"$archive" && rclone -q copyto "$archive" s3:bench/copy/go.tar.zst; }
plain_backup() { pack | rclone -q rcat "s3:bench/plain/$RANDOM.tar.zst"; }
# A mirror: the files as they are, and no older ones.
sync_backup() { rclone -q sync --links "$tree" s3:bench/mirror; }

counted() { cat <"/dev/tcp/${told/:/\/}"; }
sent() { # COMMAND…
	local from
	from=$(counted)
	"$@" >"$dir/output" 2>&1 || { cat "$dir/output" >&2; return 1; }
	echo $(($(counted) - from))
}
line() { printf '%-32s %-24s %11s %11s %6s\n' "$@"; }
row() { # PEER LABEL
	local theirs
	theirs=$(sent "$1_backup")
	awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2fMiB %.2fMiB %.3f\n", a / 2^20, b / 2^20, a / (b > 0 ? b : 1) }' |
		{ read -r a b ratio && line "$what" "$2" "$a" "$b" "$ratio"; }
}
all() {
	ours=$(sent ours_backup)
	row restic restic
	row plain 'tar | zstd | rclone rcat'
	row copy 'tar | zstd, rclone copy'
	row sync 'rclone sync (a mirror)'
}

cp -a "$goroot" "$tree"
rm -rf "$tree/pkg" "$tree/.git"
sync -f "$dir"
sleep 3 # what is younger than its backup would be read again

version() { "$1" "${2:---version}" 2>&1 | grep -o '[0-9][0-9]*\.[0-9.]*[0-9]' | awk 'NR == 1'; }
rclone mkdir s3:bench
restic -q -r "s3:http://$proxy/bench/restic" init
echo "restic $(version restic version), rclone $(version rclone); go tree: $(find "$tree" | wc -l) files, $(du -sm "$tree" | cut -f1) MiB"
echo
line 'sent to S3' peer tinybackup peer ratio
what='go tree, first run'
all
what='go tree, nothing changed'
sleep 3
all
what='go tree, 1 % side by side'
sleep 3
find "$tree/src/cmd" -type f | sort | awk -v n="$(($(find "$tree" -type f | wc -l) / 100))" 'NR <= n' |
	while read -r file; do echo "// $RANDOM" >>"$file"; done
sleep 3
all
