package tinybackup

// teller returns a function that is told how many more bytes are done, and
// passes on how far that is. total is -1 if it is not known.
func (e Env) teller(phase string, total int64) func(int64) {
	if e.Progress == nil {
		return func(int64) {}
	}
	done := int64(0)
	return func(n int64) {
		done += n
		e.Progress(Progress{Phase: phase, Done: done, Total: total})
	}
}
