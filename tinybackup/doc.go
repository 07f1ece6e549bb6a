// Package tinybackup is the program: it backs up a file, a directory or a block
// device into ordinary archives, and schedules itself.
//
// The command line is one user of this package and another program may be a
// second one:
//
//	o := tinybackup.Options{Source: "/home/anna/notes", Dest: "/mnt/stick"}
//	report, err := tinybackup.Run(ctx, tinybackup.NewEnv(), o, "")
//
// # Words
//
// A source goes to a destination as an archive, one finished file per backup. A
// job is a source, a destination, a schedule and options, kept in one small INI
// file under an id of eight hex digits. A slot is one planned time of its
// schedule. Rotation decides by a policy which archives stay.
//
// # Errors
//
// A *UsageError is something the caller should have asked differently, with a
// hint of how. A *HintError is something in the way that a person can clear. A
// *BusyError says who is already at it. A *ProblemError says that the question
// was answered, and the answer is that something is wrong. Anything else is a
// failure. None of them is printed here, except by Main.
package tinybackup
