package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ProbeOptions describe a measurement.
type ProbeOptions struct {
	Client    *Host
	Interface string        // of the client; default its first
	VIP       netip.Addr    // IPv4
	Interval  time.Duration // default 1 ms
	Live      func(Live)    // called about each LiveEvery, on a goroutine of the prober
	LiveEvery time.Duration // default 100 ms
}

// Live is the state of a running measurement.
type Live struct {
	At      time.Duration // the instant it describes, a little in the past
	Holders []string      // seen in the last LiveEvery, by ARP
	Reached []string      // seen in the last LiveEvery, by ICMP
}

// Prober asks each millisecond, by ARP, who holds the address, and by ICMP
// echo, whom the client reaches.
//
// The ARP probe has the sender address 0.0.0.0, so that it changes nobody's
// cache (RFC 5227 section 1.1), and its number in the sender hardware
// address, so that the answer says which probe it is for. The echo takes the
// client's own neighbour cache, as the packets of a service would.
//
//	sender (process in the client, SCHED_FIFO where allowed) ── probes ──> its interface
//	sniffer  <── answers where they enter the switch: which host
//	receiver <── echo replies where they reach the client
//
// The three share a table of probes in memory, whose cells are atomic. The
// sender is a process of its own, with nothing beside it in its Go runtime: a
// real-time thread among ordinary ones waits for locks that those hold while
// they wait for a core, and then its priority is worth nothing.
type Prober struct {
	opts    ProbeOptions
	lab     *Lab
	order   []string
	bit     map[string]uint32
	table   *probeTable
	memory  *os.File // behind table
	sender  *Proc
	sniffer *Sniffer
	echoFD  int
	mac     net.HardwareAddr
	id      uint16

	quit     chan struct{}
	stopOnce sync.Once
	wg       sync.WaitGroup

	mu     sync.Mutex
	marks  []Mark
	result Report
	err    error
}

// answerWithin is the longest time after which an answer still counts for
// its probe. Echoes that waited in the client's neighbour queue until a new
// holder appeared were not answered when they were sent.
const answerWithin = 50 * time.Millisecond

// proberPriority, of SCHED_FIFO, is above all ordinary threads, whatever their niceness,
// which sched_autogroup makes meaningless between sessions.
const proberPriority = 5

var probeID atomic.Uint32

// Probe starts a measurement, which ends with Stop, the context, or Close of
// the lab. Hosts added later are not counted.
func (l *Lab) Probe(ctx context.Context, opts ProbeOptions) (*Prober, error) {
	p, err := newProber(l, opts)
	if err != nil {
		return nil, fmt.Errorf("prober: %w", err)
	}
	if err := p.open(ctx); err != nil {
		if p.sniffer != nil {
			_, _ = p.sniffer.Stop()
		}
		p.release()
		return nil, fmt.Errorf("prober: %w", err)
	}
	p.wg.Go(p.receive)
	if p.opts.Live != nil {
		p.wg.Go(p.live)
	}
	stop := context.AfterFunc(ctx, func() { _, _ = p.Stop() })
	l.onClose(func() { stop(); _, _ = p.Stop() })
	return p, nil
}

func newProber(l *Lab, opts ProbeOptions) (*Prober, error) {
	if opts.Interval == 0 {
		opts.Interval = time.Millisecond
	}
	if opts.LiveEvery == 0 {
		opts.LiveEvery = 100 * time.Millisecond
	}
	switch {
	case opts.Client == nil || len(opts.Client.opts.Interfaces) == 0:
		return nil, errors.New("a client with an interface is needed")
	case !opts.VIP.Is4():
		return nil, fmt.Errorf("%s is not an IPv4 address", opts.VIP)
	case opts.Interval < 100*time.Microsecond:
		return nil, fmt.Errorf("an interval of %s is below 100 µs", opts.Interval)
	}
	if opts.Interface == "" {
		opts.Interface = opts.Client.opts.Interfaces[0].Name
	}
	i, err := opts.Client.ifaceIndex(opts.Interface)
	if err != nil {
		return nil, err
	}
	p := &Prober{
		opts: opts, lab: l, echoFD: -1, quit: make(chan struct{}),
		mac: opts.Client.MAC(i), id: uint16(probeID.Add(1)), bit: l.hostBits(),
	}
	for _, h := range l.Hosts() {
		p.order = append(p.order, h.name)
	}
	delete(p.bit, opts.Client.name)
	return p, nil
}

func (p *Prober) open(ctx context.Context) error {
	var err error
	p.echoFD, err = inNamespace(p.opts.Client, p.openEcho)
	if err != nil {
		return fmt.Errorf("opening the ICMP socket: %w", err)
	}
	if p.table, p.memory, err = newProbeTable(); err != nil {
		return fmt.Errorf("making the table of probes: %w", err)
	}
	if p.sniffer, err = p.lab.sniff(ctx, answersFrom(p.opts.VIP), p.answer); err != nil {
		return err
	}
	return p.startSender(ctx)
}

func (p *Prober) openEcho() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return -1, err
	}
	// The receiver looks up this often whether it should end.
	timeout := unix.NsecToTimeval(int64(answerWithin))
	err = errors.Join(
		attachFilter(fd, echoReplies),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, sniffBuffer),
		// A raw socket that never waits for room: a probe that finds none is lost.
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sniffBuffer),
	)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Mark puts something that happens now into the report.
func (p *Prober) Mark(what string) time.Duration {
	now := Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks = append(p.marks, Mark{now, what})
	return now
}

// Stop ends the measurement and gives its report. Further calls give the same.
func (p *Prober) Stop() (Report, error) {
	p.stopOnce.Do(func() {
		p.table.quit.Store(1)
		<-p.sender.Exited() // after the last answer's time, or with its host
		close(p.quit)
		p.wg.Wait()
		lost, err := p.sniffer.Stop()
		report := p.evaluate()
		p.release()
		report.Lost = lost
		p.mu.Lock()
		defer p.mu.Unlock()
		report.Marks = slices.Clone(p.marks)
		p.result, p.err = report, err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result, p.err
}

func (p *Prober) release() {
	if p.echoFD >= 0 {
		unix.Close(p.echoFD)
	}
	if p.table != nil {
		p.table.unmap()
		p.memory.Close()
	}
}

// answer notes which host an answer came from. It runs on the sniffer's
// goroutine.
func (p *Prober) answer(f Frame) {
	bit := p.bit[f.Host]
	if bit == 0 {
		return
	}
	if a, ok := DecodeARP(f.Bytes); ok {
		if [2]byte(a.TargetMAC) != numberedMAC {
			return // an answer to somebody's ordinary request
		}
		if cell := p.table.find(binary.BigEndian.Uint32(a.TargetMAC[2:6])); cell.inTime(f.At) {
			cell.holders.Or(bit)
		}
		return
	}
	if packet, ok := decodeIP(f.Bytes); ok {
		if n, ok := p.echoNumber(packet.payload); ok {
			if cell := p.table.find(n); cell.inTime(f.At) {
				cell.answered.Or(bit)
			}
		}
	}
}

// receive notes which echo replies reached the client.
func (p *Prober) receive() {
	buf := make([]byte, 2048)
	for ending := false; ; {
		n, err := unix.Read(p.echoFD, buf)
		if err == unix.EAGAIN && ending {
			return
		}
		select {
		case <-p.quit:
			ending = true // and drain what is under way
		default:
		}
		if err != nil || n < 20 {
			continue // EINTR, the timeout, or an unreachable host reported here
		}
		if header := int(buf[0]&15) * 4; header < n {
			if k, ok := p.echoNumber(buf[header:n]); ok {
				if cell := p.table.find(k); cell != nil {
					cell.delivered.Store(1)
				}
			}
		}
	}
}

// live reports what the probes of the last period met, once their time for
// answers is over.
func (p *Prober) live() {
	tick := time.NewTicker(p.opts.LiveEvery)
	defer tick.Stop()
	var from uint32
	for {
		select {
		case <-p.quit:
			return
		case <-tick.C:
		}
		end := Now() - answerWithin
		var held, reached uint32
		to := from
		for ; to < p.table.sent.Load(); to++ {
			cell := p.table.find(to)
			if time.Duration(cell.sent.Load()) > end {
				break
			}
			held |= cell.holders.Load()
			reached |= cell.reached()
		}
		if to > from {
			p.opts.Live(Live{At: end, Holders: names(p.order, held), Reached: names(p.order, reached)})
		}
		from = to
	}
}

// evaluate makes intervals of the probes. A probe stands for the time until
// the next one.
func (p *Prober) evaluate() Report {
	count := p.table.sent.Load()
	r := Report{Probes: int(count), MaxLateness: time.Duration(p.table.lateness.Load())}
	if count == 0 {
		return r
	}
	start := func(n uint32) time.Duration {
		if n == count {
			return time.Duration(p.table.find(n-1).sent.Load()) + p.opts.Interval
		}
		return time.Duration(p.table.find(n).sent.Load())
	}
	intervals := func(set func(*probe) uint32) (list []Interval) {
		begin, current := uint32(0), set(p.table.find(0))
		for n := uint32(1); n <= count; n++ {
			if n < count && set(p.table.find(n)) == current {
				continue
			}
			list = append(list, Interval{Hosts: names(p.order, current), From: start(begin), To: start(n)})
			if n < count {
				begin, current = n, set(p.table.find(n))
			}
		}
		return list
	}
	r.From, r.To = start(0), start(count)
	r.Intervals = intervals(func(c *probe) uint32 { return c.holders.Load() })
	r.Reached = intervals((*probe).reached)
	r.count()
	return r
}
