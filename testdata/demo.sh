#!/bin/bash
# A backup's whole life, as a person would type it, in a temporary directory:
# nothing is left of it. The job is started by tinybackup's own service, so this
# runs on any machine, and touches neither crontab nor at.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/bin
dir=$(mktemp -d)
export TINYBACKUP_DIR=$dir/tinybackup PATH=$bin:$PATH
end() {
	status=$?
	tinybackup stop --now >/dev/null 2>&1 || true
	rm -rf "$dir"
	[ "$status" = 0 ] || echo "demo: failed"
	exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM

say() { printf '\n# %s\n' "$*"; }
show() {
	printf '$'
	for word; do
		case $word in *[!A-Za-z0-9_./:=-]* | '') printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
	done
	printf '\n'
	"$@"
}

cd "$dir"
mkdir -p notes/letters stick
echo 'milk, bread' >notes/todo.txt
echo 'Dear Anna,' >notes/letters/anna.txt
ln notes/todo.txt notes/same.txt

say 'a first backup, now'
show tinybackup run notes stick

say 'from now on one every minute, by the service'
show tinybackup install --scheduler service --time '* * * * *' --keep 3 notes stick
show tinybackup start
show tinybackup statusof

say 'a file changes; wait for the next minute'
echo 'milk, bread, tea' >notes/todo.txt
# An archive is made every minute, and has the time in its name.
count() { find stick -maxdepth 1 -name 'notes-*.tar.zst' | wc -l; }
for _ in $(seq 900); do
	[ "$(count)" -lt 2 ] || break
	sleep 0.1
done
[ "$(count)" -ge 2 ] || { echo 'demo: no run within 90 seconds'; exit 1; }
show tinybackup stop
show tinybackup list stick

say 'get it back, and compare'
show tinybackup verify stick
show tinybackup restore stick back
show diff -r notes back
cmp notes/todo.txt back/todo.txt

say 'the same without tinybackup'
show sh -c 'cd stick && sha256sum --quiet -c SHA256SUMS'
if command -v zstd >/dev/null; then
	newest=$(find stick -maxdepth 1 -name 'notes-*.tar.zst' | sort | tail -1)
	mkdir plain
	show tar -xf "$newest" -C plain
	show diff -r notes plain/notes
fi

say 'and off the schedule'
show tinybackup uninstall notes stick
show tinybackup statusof
[ -z "$(find "$TINYBACKUP_DIR/jobs" -name '*.ini')" ]
say 'done'
