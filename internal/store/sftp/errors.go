package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	wire "github.com/pkg/sftp"

	"tinybackup/internal/store"
)

// advised is an error with a hint of its own.
type advised struct {
	error
	hint string
}

func (a *advised) Unwrap() error { return a.error }

func hinted(err error, hint string) error { return &advised{err, hint} }

// fail makes an *store.Error of err, nil of nil, about the object of a key.
func (d *Driver) fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var already *store.Error
	if errors.As(err, &already) || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	e := &store.Error{Op: op, Path: d.a.at(key), Err: plain(err)}
	var a *advised
	switch {
	case errors.As(err, &a):
		e.Advice = a.hint
	case errors.Is(err, fs.ErrPermission):
		e.Advice = fmt.Sprintf("who logs in there may not do so: see ls -ld of it and of its %s, there", store.SideDir)
	}
	return e
}

// plain puts a server's status in words.
func plain(err error) error {
	var status *wire.StatusError
	if !errors.As(err, &status) {
		return err
	}
	said := status.Error()
	if begin, end := strings.IndexByte(said, '"'), strings.LastIndexByte(said, '"'); begin >= 0 && end > begin+1 {
		said = said[begin+1 : end]
	}
	return &answered{fmt.Sprintf("the server answers: %s", said), err}
}

type answered struct {
	text string
	error
}

func (a *answered) Error() string { return a.text }
func (a *answered) Unwrap() error { return a.error }

// isAnswer says that an error is what the server said, or our own judgement: asked again, it
// would be the same. All others may come from the connection; io.EOF comes from either.
func isAnswer(err error) bool {
	var status *wire.StatusError
	var own *store.Error
	var final *refused
	switch {
	case errors.As(err, &status):
		return status.FxCode() != wire.ErrSSHFxNoConnection && status.FxCode() != wire.ErrSSHFxConnectionLost
	case errors.As(err, &own), errors.As(err, &final):
		return true
	}
	for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, store.ErrConflict, store.ErrRetained,
		errors.ErrUnsupported, errDamaged, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isFailure says that the server answered with the status that stands for all it has no other
// status for (SSH_FX_FAILURE): a name that is taken, or a full disk.
func isFailure(err error) bool {
	var status *wire.StatusError
	return errors.As(err, &status) && status.FxCode() == wire.ErrSSHFxFailure
}

// quoted is a word as a shell wants it.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
