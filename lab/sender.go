package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// senderConfig is what the sender of a prober is told.
type senderConfig struct {
	Interface string
	MAC       net.HardwareAddr
	VIP       netip.Addr
	ID        uint16
	Interval  time.Duration
	Settled   bool // the scheduling policy is set
}

// startSender starts the sender in the client, with the table as its standard
// input, and waits for its first probe.
func (p *Prober) startSender(ctx context.Context) error {
	spec, err := json.Marshal(senderConfig{
		Interface: p.opts.Interface, MAC: p.mac, VIP: p.opts.VIP, ID: p.id, Interval: p.opts.Interval,
	})
	if err != nil {
		return err
	}
	p.sender, err = p.opts.Client.Start(Cmd{
		Argv: []string{"/proc/self/exe"}, Env: []string{envSender + "=" + string(spec)}, Stdin: p.memory,
	})
	if err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		select {
		case <-p.sender.Exited():
			return false, fmt.Errorf("the sender ended at once: %s", tail(p.sender.Output()))
		default:
			return p.table.sent.Load() > 0, nil
		}
	}, func() string { return "the sender sends nothing" })
}

// senderMain is the whole life of a sender. It starts itself again once its
// thread has the policy it wants, so that all threads of the runtime inherit
// it and none waits for an ordinary one.
func senderMain(spec string) int {
	runtime.LockOSThread()
	var c senderConfig
	err := json.Unmarshal([]byte(spec), &c)
	if err == nil && !c.Settled {
		beforeOthers()
		c.Settled = true
		var next []byte
		if next, err = json.Marshal(c); err == nil {
			os.Setenv(envSender, string(next))
			err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		}
	}
	if err == nil {
		debug.SetGCPercent(-1) // the loop allocates nothing
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sender of probes:", err)
		return 1
	}
	return 0
}

// run sends until it is told to quit, and returns when the last probe has had
// its time.
func (c senderConfig) run() error {
	table, err := mapProbeTable(0)
	if err != nil {
		return fmt.Errorf("mapping the table: %w", err)
	}
	iface, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return err
	}
	arpFD, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: it only sends
	if err != nil {
		return fmt.Errorf("opening the ARP socket: %w", err)
	}
	echoFD, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return fmt.Errorf("opening the ICMP socket: %w", err)
	}
	// The answers are for others to read.
	if err := attachFilter(echoFD, assemble(bpf.RetConstant{Val: 0})); err != nil {
		return err
	}
	arp, echo := c.probeFrames()
	link := &unix.SockaddrLinklayer{
		Protocol: htons(typeARP), Ifindex: iface.Index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	vip := &unix.SockaddrInet4{Addr: c.VIP.As4()}
	next := Now()
	for n := uint32(0); n < maxProbes && table.quit.Load() == 0; n++ {
		sleepUntil(next)
		now := Now()
		binary.BigEndian.PutUint32(arp[24:28], n)
		binary.BigEndian.PutUint32(echo[8:12], n)
		binary.BigEndian.PutUint16(echo[6:8], uint16(n))
		binary.BigEndian.PutUint16(echo[2:4], 0)
		binary.BigEndian.PutUint16(echo[2:4], internetChecksum(echo))
		cell := &table.cells[n]
		cell.sent.Store(int64(now))
		table.sent.Store(n + 1)
		// A probe that cannot be sent, as on a downed interface, is one that
		// nobody answers.
		_ = unix.Sendto(arpFD, arp, unix.MSG_DONTWAIT, link)
		if err := unix.Sendto(echoFD, echo, unix.MSG_DONTWAIT, vip); err != nil {
			// Most likely the neighbour's earlier failure, reported only now.
			_ = unix.Sendto(echoFD, echo, unix.MSG_DONTWAIT, vip)
		}
		done := Now()
		cell.done.Store(int64(done))
		if late := int64(done - next); late > table.lateness.Load() {
			table.lateness.Store(late)
		}
		// After a hole it goes on from now instead of catching up in a burst.
		next = max(next+c.Interval, now)
	}
	sleepUntil(Now() + answerWithin)
	return nil
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
