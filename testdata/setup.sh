#!/bin/bash
# Installs the tools that the tests use and that are missing, if it may: on
# Debian and its children, as root. Else it names them, and goes on: a test whose
# tool is missing is skipped by name.
set -eu

# tool           Debian package
needed='
tar              tar
bsdtar           libarchive-tools
zstd             zstd
xz               xz-utils
gzip             gzip
bzip2            bzip2
sha256sum        coreutils
cmp              diffutils
at               at
atd              at
crontab          cron
cron             cron
faketime         faketime
systemctl        systemd
systemd-analyze  systemd
unshare          util-linux
mkswap           util-linux
losetup          mount
swapon           mount
script           bsdutils
mkfs.ext4        e2fsprogs
mkfs.fat         dosfstools
mcopy            mtools
bmaptool         bmap-tools
mkfs.xfs         xfsprogs
mkfs.btrfs       btrfs-progs
setfacl          acl
setfattr         attr
setcap           libcap2-bin
strace           strace
sshd             openssh-server
ssh-keygen       openssh-client
ssh-agent        openssh-client
rclone           rclone
mandoc           mandoc
git              git
gcc              gcc
make             make
age              age
'

# A person's PATH often has no sbin.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# An S3 server, which is no Debian package. It takes a minute, beside the rest.
building=
if ! command -v versitygw >/dev/null && [ ! -x "$HOME/go/bin/versitygw" ] && command -v go >/dev/null; then
	GOBIN=$HOME/go/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 </dev/null >/dev/null 2>&1 &
	building=$!
fi
built() {
	[ -z "$building" ] || wait "$building" || echo "setup: versitygw could not be built"
}
trap built EXIT

tools='' packages=''
while read -r tool package; do
	[ -n "$tool" ] || continue
	command -v "$tool" >/dev/null && continue
	tools="$tools $tool"
	case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
done <<<"$needed"

# gcc alone cannot link: the race detector wants the C library's files, too.
if command -v dpkg >/dev/null && [ ! -e /usr/include/stdlib.h ]; then
	tools="$tools libc-headers" packages="$packages libc6-dev"
fi

[ -n "$tools" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: missing:$tools"
	echo "setup: on Debian, as root: apt-get install --no-install-recommends$packages"
	exit 0
fi
echo "setup: installing$packages"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
install() { apt-get install -qq -y --no-install-recommends $packages </dev/null >/dev/null; }
install 2>/dev/null || { apt-get update -qq && install; }
