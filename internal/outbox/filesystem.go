package outbox

// FileSystem is what a queue asks of the disk. Tests put one of their own in its place: see [Options.On].
type FileSystem = fileSystem

// File is an open file of a [FileSystem].
type File = file

// Disk returns the file system of the operating system, which queues use by default.
func Disk() FileSystem { return disk{} }

// On returns the options of a queue that is on another file system; nil means [Disk].
func (o Options) On(files FileSystem) Options {
	o.files = files
	return o
}
