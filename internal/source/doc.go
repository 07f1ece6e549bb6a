// Package source answers "what is backed up?": it turns a directory, a file or
// a block device into a stream of segments, in an order that depends on names
// only, so that two runs over the same tree give the same stream.
//
// Walking and reading are apart. Segments lists the tree by lstat alone; the
// content, the extended attributes and the holes of an entry are read later, by
// whoever holds its segment, from any goroutine. So many files can be read at
// once, and a file that need not be read at all costs one lstat.
//
// Every file is opened below its directory's descriptor with O_NOFOLLOW, and a
// directory that was opened again must still be the same inode: a path that is
// swapped for a symbolic link while it is read leads nowhere else. The source
// is only ever read; nothing is locked, created or (but for access times)
// changed.
package source
