package store

// What tests from outside the package share with those inside it.
var (
	InNamespace = inNamespace
	MountImage  = mountImage
)
