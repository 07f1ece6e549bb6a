// Package faults runs a program and makes its file-system calls go wrong: one of
// them, or as many as a test chooses. The program is killed before or after a call,
// or the call fails, does half of its work, or none while it claims success.
//
// The calls are counted over all threads and children of the program, which
// strace(1) with "when=" does not do. It needs Linux and nothing else: no change of
// the program that is tested, and no library below it.
package faults
