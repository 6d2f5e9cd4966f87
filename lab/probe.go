package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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
//	sender (locked thread, SCHED_FIFO where allowed) ── probes ──> client's interface
//	sniffer  <── answers where they enter the switch: which host
//	receiver <── echo replies where they reach the client
//
// The three share a table of probes, whose cells are atomic.
type Prober struct {
	opts    ProbeOptions
	lab     *Lab
	order   []string
	bit     map[string]uint32
	table   probeTable
	sniffer *Sniffer
	arpFD   int
	echoFD  int
	link    unix.SockaddrLinklayer
	mac     net.HardwareAddr
	id      uint16

	quit     chan struct{}
	stopOnce sync.Once
	wg       sync.WaitGroup
	lateness atomic.Int64

	mu     sync.Mutex
	marks  []Mark
	result Report
	err    error
}

// answerWithin is the longest time after which an answer still counts for
// its probe. Echoes that waited in the client's neighbour queue until a new
// holder appeared were not answered when they were sent.
const answerWithin = 50 * time.Millisecond

// proberPriority is above all ordinary threads, whatever their niceness,
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
		p.closeSockets()
		return nil, fmt.Errorf("prober: %w", err)
	}
	p.wg.Go(p.send)
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
		opts: opts, lab: l, arpFD: -1, echoFD: -1, quit: make(chan struct{}),
		mac: opts.Client.MAC(i), id: uint16(probeID.Add(1)), bit: l.hostBits(),
	}
	for _, h := range l.Hosts() {
		p.order = append(p.order, h.name)
	}
	delete(p.bit, opts.Client.name)
	return p, nil
}

func (p *Prober) open(ctx context.Context) error {
	p.link = unix.SockaddrLinklayer{
		Protocol: htons(unix.ETH_P_ARP), Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	err := p.opts.Client.use(func(nl *netlink.Handle, _ netns.NsHandle) error {
		link, err := nl.LinkByName(p.opts.Interface)
		if err == nil {
			p.link.Ifindex = link.Attrs().Index
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("finding %s: %w", p.opts.Interface, err)
	}
	p.arpFD, err = inNamespace(p.opts.Client, func() (int, error) {
		// Protocol 0: it only sends.
		return unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	})
	if err != nil {
		return fmt.Errorf("opening the ARP socket: %w", err)
	}
	p.echoFD, err = inNamespace(p.opts.Client, p.openEcho)
	if err != nil {
		return fmt.Errorf("opening the ICMP socket: %w", err)
	}
	p.sniffer, err = p.lab.sniff(ctx, answersFrom(p.opts.VIP), p.answer)
	return err
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
		close(p.quit)
		p.wg.Wait()
		lost, err := p.sniffer.Stop()
		p.closeSockets()
		report := p.evaluate()
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

func (p *Prober) closeSockets() {
	for _, fd := range []int{p.arpFD, p.echoFD} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// send sends probes until quit, and returns when the last has had its time.
func (p *Prober) send() {
	runtime.LockOSThread() // never unlocked: the thread's policy is not for others
	beforeOthers()
	arp, echo := p.probeFrames()
	vip := unix.SockaddrInet4{Addr: p.opts.VIP.As4()}
	next := Now()
	for n := uint32(0); ; n++ {
		select {
		case <-p.quit:
			sleepUntil(Now() + answerWithin)
			return
		default:
		}
		sleepUntil(next)
		now := Now()
		cell := p.table.add(n)
		if cell == nil {
			return // an hour of probes: Stop shows how many there were
		}
		binary.BigEndian.PutUint32(arp[24:28], n)
		binary.BigEndian.PutUint32(echo[8:12], n)
		binary.BigEndian.PutUint16(echo[6:8], uint16(n))
		binary.BigEndian.PutUint16(echo[2:4], 0)
		binary.BigEndian.PutUint16(echo[2:4], internetChecksum(echo))
		cell.sent.Store(int64(now))
		p.table.sent.Store(n + 1)
		// A probe that cannot be sent, as on a downed interface, is one that
		// nobody answers.
		_ = unix.Sendto(p.arpFD, arp, unix.MSG_DONTWAIT, &p.link)
		if err := unix.Sendto(p.echoFD, echo, unix.MSG_DONTWAIT, &vip); err != nil {
			// Most likely the neighbour's earlier failure, reported only now.
			_ = unix.Sendto(p.echoFD, echo, unix.MSG_DONTWAIT, &vip)
		}
		done := Now()
		cell.done.Store(int64(done))
		if late := int64(done - next); late > p.lateness.Load() {
			p.lateness.Store(late)
		}
		// After a hole it goes on from now instead of catching up in a burst.
		next = max(next+p.opts.Interval, now)
	}
}

// beforeOthers asks the kernel to run this thread as soon as it is due. A user
// namespace is refused real time; there a thread that wants the shortest time
// slice is at least picked first among its equals (kernel 6.12 and later), and
// MaxLateness says what the rest cost.
func beforeOthers() {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: proberPriority}
	if unix.SchedSetAttr(0, &attr, 0) == nil {
		return
	}
	attr = unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Runtime: uint64(shortestSlice)}
	_ = unix.SchedSetAttr(0, &attr, 0)
}

// shortestSlice is the least that the kernel accepts.
const shortestSlice = 100 * time.Microsecond

func sleepUntil(at time.Duration) {
	ts := unix.NsecToTimespec(int64(at))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
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
					cell.delivered.Store(true)
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
	r := Report{Probes: int(count), MaxLateness: time.Duration(p.lateness.Load())}
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
