#!/bin/bash
# testdata/vm-kernel.sh
# Prints a directory with a kernel for virtual machines and its modules: Debian's
# package, unpacked and not installed. It is downloaded once.
set -euo pipefail
cache=${TINYBACKUP_VM_CACHE:-${TMPDIR:-/tmp}/tinybackup-vm}
mkdir -p "$cache"
cd "$cache"
exec 8>kernel.lock
flock 8
if [ ! -e kernel/done ]; then
	rm -rf kernel
	mkdir kernel
	package=$(apt-cache show linux-image-cloud-amd64 | sed -n 's/^Depends: \([^ ,]*\).*/\1/p' | head -1)
	(cd kernel && apt-get -qq download "$package" && dpkg -x ./*.deb . && rm ./*.deb && touch done) >&2
fi
echo "$cache/kernel"
