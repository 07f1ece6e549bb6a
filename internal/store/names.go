package store

import (
	"errors"
	"strings"
)

// SideDir is the directory in a destination that holds all that is no archive:
// what has it was written to by us.
const SideDir = ".tinybackup"

const (
	sumsName = "SHA256SUMS"

	// What .tinybackup holds besides sidecars is told from them by its ending, and
	// sidecars may not end so; hence no name of ours can meet another of ours:
	//   NAME.partial       an archive being written
	//   NAME.side.temp     a sidecar being written
	//   sums.temp          SHA256SUMS being written
	//   SERIES.series.lock the lock of a series
	//   sums.lock          the lock for editing SHA256SUMS
	// (series "sums" locks sums.series.lock; sidecar "sums" is written as sums.side.temp.)
	//
	// PartialSuffix and TempSuffix also serve drivers: NAME.partial is an archive being
	// written, NAME.RANDOM.temp (see TempOf) a smaller object.
	PartialSuffix  = ".partial"
	TempSuffix     = ".temp"
	lockSuffix     = ".lock"
	sideTempSuffix = ".side" + TempSuffix
	seriesLock     = ".series" + lockSuffix
	sumsTemp       = "sums" + TempSuffix
	sumsLock       = "sums" + lockSuffix

	filePerm = 0o600 // archives hold whatever the source held, also what only root could read there
	sidePerm = 0o700
)

var (
	errName     = errors.New("not a usable name: want one path element")
	errReserved = errors.New("the name is reserved")
)

// checkName returns why name can't be the name of an archive, a sidecar or a series:
// it is empty, ".", "..", holds a '/' or NUL, or is one of the store's own. Whether a
// name is too long the file system knows best.
func checkName(op, name string) error {
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"):
		return fail(op, name, errName)
	case name == SideDir, name == sumsName:
		return fail(op, name, errReserved)
	}
	return nil
}

// checkSide is checkName plus the endings that sidecars may not have.
func checkSide(op, name string) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	if ownSuffix(name) {
		return fail(op, name, errReserved)
	}
	return nil
}

// ownSuffix reports whether a file of .tinybackup is something else than a sidecar.
func ownSuffix(name string) bool {
	return strings.HasSuffix(name, PartialSuffix) ||
		strings.HasSuffix(name, TempSuffix) ||
		strings.HasSuffix(name, lockSuffix)
}

// TempOf takes the name of a file NAME.RANDOM.temp apart: what it was to be named in the end.
func TempOf(name string) (final string, ok bool) {
	name, ok = strings.CutSuffix(name, TempSuffix)
	dot := strings.LastIndexByte(name, '.')
	if !ok || dot <= 0 {
		return "", false
	}
	return name[:dot], true
}
