package crashtest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// databaseFiles is the default VFS of this process. It stands between SQLite and the operating system: SQLite's own VFS
// does all the work, and databaseFiles reports what happens in a machine's directory to that machine. The file -shm,
// which SQLite's processes share in memory, does not go through a VFS and does not survive a power failure.
var databaseFiles struct {
	install func() error // Installs the VFS once.

	own uintptr // SQLite's own VFS.

	mu       sync.Mutex
	machines map[string]*machine       // Guarded by mu; by their roots.
	open     map[uintptr]*databaseFile // Guarded by mu; by SQLite's address of the file.
	methods  map[uintptr]uintptr       // Guarded by mu; our method tables, by SQLite's own. They are never freed.
}

// databaseFile is an open file of a machine.
type databaseFile struct {
	machine *machine
	number  int
	dir     string
	own     *sqlite3.Tsqlite3_io_methods
	fresh   bool // Its first sync syncs its directory too.
}

func init() { databaseFiles.install = sync.OnceValue(installDatabaseFiles) }

func installDatabaseFiles() error {
	d := &databaseFiles
	d.machines, d.open = map[string]*machine{}, map[uintptr]*databaseFile{}
	d.methods = map[uintptr]uintptr{}
	tls := libc.NewTLS()
	defer tls.Close()
	d.own = sqlite3.Xsqlite3_vfs_find(tls, 0)
	if d.own == 0 {
		return errors.New("SQLite has no VFS")
	}
	address, vfs, err := copied[sqlite3.Tsqlite3_vfs](tls, d.own)
	if err != nil {
		return err
	}
	if vfs.FzName, err = libc.CString("machine"); err != nil {
		return err
	}
	setMethod(&vfs.FxOpen, openDatabaseFile)
	setMethod(&vfs.FxDelete, deleteDatabaseFile)
	if code := sqlite3.Xsqlite3_vfs_register(tls, address, 1); code != sqlite3.SQLITE_OK {
		return fmt.Errorf("register VFS: SQLite says %d", code)
	}
	return nil
}

// copied returns a copy of a table of SQLite's, in SQLite's memory.
func copied[T any](tls *libc.TLS, table uintptr) (address uintptr, c *T, err error) {
	address = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(*c)))
	if address == 0 {
		return 0, nil, errors.New("no memory for a table of SQLite's")
	}
	c = (*T)(pointer(address))
	*c = *(*T)(pointer(table))
	return address, c, nil
}

// The types of SQLite's functions in its translation to Go.
type (
	openMethod     = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	deleteMethod   = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	closeMethod    = func(tls *libc.TLS, file uintptr) int32
	writeMethod    = func(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32
	truncateMethod = func(tls *libc.TLS, file uintptr, size int64) int32
)

// pointer converts an address that SQLite has as a number.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// setMethod puts a function of the package, not a closure, into a table of SQLite's.
func setMethod[F any](slot *uintptr, function F) { *(*F)(unsafe.Pointer(slot)) = function }

// method returns a function of a table of SQLite's.
func method[F any](slot uintptr) F { return *(*F)(unsafe.Pointer(&slot)) }

// result is a result code of SQLite's that is not SQLITE_OK.
type result int32

func (r result) Error() string { return fmt.Sprintf("SQLite says %d", int32(r)) }

func asError(code int32) error {
	if code == sqlite3.SQLITE_OK {
		return nil
	}
	return result(code)
}

// asResult returns the result code for an error of asError.
func asResult(err error) int32 {
	if code, ok := errors.AsType[result](err); ok {
		return int32(code)
	}
	return sqlite3.SQLITE_OK
}

// watchDatabase makes SQLite report what happens in the root of a machine to it.
func (m *machine) watchDatabase() error {
	if err := databaseFiles.install(); err != nil {
		return err
	}
	databaseFiles.mu.Lock()
	defer databaseFiles.mu.Unlock()
	databaseFiles.machines[m.root] = m
	return nil
}

// forgetDatabase undoes watchDatabase. All connections must be closed.
func (m *machine) forgetDatabase() {
	databaseFiles.mu.Lock()
	defer databaseFiles.mu.Unlock()
	delete(databaseFiles.machines, m.root)
}

// machineOf returns the machine that a file is on, or nil.
func machineOf(path string) *machine {
	databaseFiles.mu.Lock()
	defer databaseFiles.mu.Unlock()
	return databaseFiles.machines[filepath.Dir(path)]
}

// databaseFileOf returns the open file at SQLite's address.
func databaseFileOf(file uintptr) *databaseFile {
	databaseFiles.mu.Lock()
	defer databaseFiles.mu.Unlock()
	return databaseFiles.open[file]
}

func openDatabaseFile(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	own := databaseFiles.own
	open := method[openMethod]((*sqlite3.Tsqlite3_vfs)(pointer(own)).FxOpen)
	var m *machine
	path := ""
	if name != 0 {
		path = libc.GoString(name)
		m = machineOf(path)
	}
	if m == nil {
		return open(tls, own, name, file, flags, outFlags)
	}
	number, err := m.open(path, func() error { return asError(open(tls, own, name, file, flags, outFlags)) })
	if err != nil {
		return asResult(err)
	}
	const journals = sqlite3.SQLITE_OPEN_MAIN_JOURNAL | sqlite3.SQLITE_OPEN_SUPER_JOURNAL | sqlite3.SQLITE_OPEN_WAL
	f := &databaseFile{
		machine: m, number: number, dir: filepath.Dir(path),
		fresh: flags&sqlite3.SQLITE_OPEN_CREATE != 0 && flags&journals != 0,
	}
	methods := (*uintptr)(pointer(file)) // The method table is the first field of a file in every VFS.
	f.own = (*sqlite3.Tsqlite3_io_methods)(pointer(*methods))
	databaseFiles.mu.Lock()
	defer databaseFiles.mu.Unlock()
	databaseFiles.open[file] = f
	address, known := databaseFiles.methods[*methods]
	if !known {
		var tell *sqlite3.Tsqlite3_io_methods
		if address, tell, err = copied[sqlite3.Tsqlite3_io_methods](tls, *methods); err != nil {
			return sqlite3.SQLITE_NOMEM
		}
		setMethod(&tell.FxClose, closeDatabaseFile)
		setMethod(&tell.FxWrite, writeDatabaseFile)
		setMethod(&tell.FxTruncate, truncateDatabaseFile)
		setMethod(&tell.FxSync, syncDatabaseFile)
		databaseFiles.methods[*methods] = address
	}
	*methods = address
	return sqlite3.SQLITE_OK
}

func deleteDatabaseFile(tls *libc.TLS, _, name uintptr, syncDir int32) int32 {
	own := databaseFiles.own
	remove := method[deleteMethod]((*sqlite3.Tsqlite3_vfs)(pointer(own)).FxDelete)
	path := libc.GoString(name)
	m := machineOf(path)
	if m == nil {
		return remove(tls, own, name, syncDir)
	}
	err := m.remove(path, func() error { return asError(remove(tls, own, name, 0)) })
	if err == nil && syncDir != 0 {
		err = m.do(step{what: named, name: m.within(filepath.Dir(path))}, func() error { return nil })
	}
	return asResult(err)
}

func closeDatabaseFile(tls *libc.TLS, file uintptr) int32 {
	f := databaseFileOf(file)
	databaseFiles.mu.Lock()
	delete(databaseFiles.open, file)
	databaseFiles.mu.Unlock()
	return method[closeMethod](f.own.FxClose)(tls, file)
}

func writeDatabaseFile(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	f := databaseFileOf(file)
	data := slices.Clone(unsafe.Slice((*byte)(pointer(buffer)), n))
	return asResult(f.machine.do(step{what: wrote, file: f.number, offset: offset, data: data}, func() error {
		return asError(method[writeMethod](f.own.FxWrite)(tls, file, buffer, n, offset))
	}))
}

func truncateDatabaseFile(tls *libc.TLS, file uintptr, size int64) int32 {
	f := databaseFileOf(file)
	return asResult(f.machine.do(step{what: truncated, file: f.number, offset: size}, func() error {
		return asError(method[truncateMethod](f.own.FxTruncate)(tls, file, size))
	}))
}

func syncDatabaseFile(_ *libc.TLS, file uintptr, _ int32) int32 {
	f := databaseFileOf(file)
	done := func() error { return nil }
	err := f.machine.do(step{what: synced, file: f.number}, done)
	if err == nil && f.fresh {
		f.fresh = false
		err = f.machine.do(step{what: named, name: f.machine.within(f.dir)}, done)
	}
	return asResult(err)
}
