package lab

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe is what is known of one probe.
type probe struct {
	sent      atomic.Int64  // instant before sending
	done      atomic.Int64  // instant after sending; 0 until then
	holders   atomic.Uint32 // hosts that answered the ARP probe
	answered  atomic.Uint32 // hosts that answered the echo
	delivered atomic.Uint32 // 1: an answer to the echo reached the client
}

func (c *probe) reached() uint32 {
	if c.delivered.Load() == 0 {
		return 0
	}
	return c.answered.Load()
}

// inTime reports whether an answer at that instant still counts. A sender
// that was interrupted between the clock and the socket is not the answerer's
// fault.
func (c *probe) inTime(at time.Duration) bool {
	if c == nil {
		return false
	}
	done := c.done.Load()
	return done == 0 || at-time.Duration(done) <= answerWithin
}

// maxProbes is an hour of probes at one each millisecond, and some more.
const maxProbes = 1 << 22

// probeTable is shared memory of the prober and its sender. Only the pages
// that are touched exist.
type probeTable struct {
	sent     atomic.Uint32 // probes sent so far
	quit     atomic.Uint32 // 1: the sender shall end
	lateness atomic.Int64  // of the sender, the longest
	cells    [maxProbes]probe
}

const tableSize = int(unsafe.Sizeof(probeTable{}))

// newProbeTable makes a table and the file that it is the memory of.
func newProbeTable() (*probeTable, *os.File, error) {
	fd, err := unix.MemfdCreate("probes", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fd), "probes")
	if err := file.Truncate(int64(tableSize)); err != nil {
		file.Close()
		return nil, nil, err
	}
	table, err := mapProbeTable(fd)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return table, file, nil
}

func mapProbeTable(fd int) (*probeTable, error) {
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(tableSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return (*probeTable)(p), err
}

func (t *probeTable) unmap() {
	_ = unix.MunmapPtr(unsafe.Pointer(t), uintptr(tableSize)) // it is a mapping of that size
}

// find gives the cell of a probe that was sent, or nil.
func (t *probeTable) find(n uint32) *probe {
	if n >= t.sent.Load() {
		return nil
	}
	return &t.cells[n]
}
