//go:build !linux

package source

// Whether what is mounted can be written to is not asked here.
type quiet struct{}

// Mounts are where the device at path, or a partition of it, is mounted: not known here.
func Mounts(path string) ([]Mount, error) { return nil, nil }

func (s *Source) findQuiet(error) (*quiet, error) { return nil, &InUseError{Path: s.Path} }

func (q *quiet) still(*Source) error { return nil }
func (q *quiet) close() error        { return nil }
