package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepmesh/keepmesh/daemon/ipc"
	"github.com/keepmesh/keepmesh/daemon/realtime"
	"github.com/keepmesh/keepmesh/daemon/settings"
	"github.com/keepmesh/keepmesh/netif"
	"github.com/keepmesh/keepmesh/vrrp"
	"github.com/keepmesh/keepmesh/vrrp/speaker"
)

// heapLimit is where the collector runs although GOGC is off. The live heap of
// a thousand instances is a few megabytes, and the steady state makes none.
const heapLimit = 24 << 20

// process is the whole state; only the loop's thread touches it.
type process struct {
	ctx  context.Context
	log  *slog.Logger
	boot uint64

	loop      *speaker.Loop
	speaker   *speaker.Speaker
	kernel    *netif.Kernel
	monitor   *netif.Monitor
	announcer *netif.Announcer
	probers   map[string]*prober
	virtuals  *virtuals
	timers    *timers
	pacer     pacer
	claims    map[string]*claims
	// claimsStale says that what is held, or where, has changed.
	claimsStale bool
	firewall    *netif.Firewall // nil while nothing needs it
	// firewallWrong is what was last said of it.
	firewallWrong string

	control, events *ipc.Conn

	cfg       settings.VRRP
	offered   *offer
	instances []*instance // by InstanceID
	links     map[int]*netif.Link
	started   bool
	stopping  bool
	lastWords []*ipc.State // of groups, said at the end
	wireError string
	peers     map[[16]byte]speaker.WirePeer // of the second wire
	holdSpans []int
	bfd       sessions
}

// Run is the process. control and events are the inherited descriptors.
func Run(control, events int, log *slog.Logger) error {
	// Nothing here runs beside the loop for long. With a single processor to
	// hand out, the runtime has nobody to wake when the loop waits or returns:
	// half of what an idle instance costs otherwise.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(heapLimit)
	runtime.LockOSThread()
	if err := realtime.Raise(); err != nil {
		log.Warn("the loop's thread is not above the others", "err", err)
	}
	p := &process{
		ctx: context.Background(), log: log, boot: uint64(time.Now().UnixNano()),
		links: map[int]*netif.Link{}, probers: map[string]*prober{}, peers: map[[16]byte]speaker.WirePeer{},
	}
	if err := p.open(control, events); err != nil {
		return err
	}
	p.readLinks()
	return p.loop.Run(&clocks{p.timers})
}

func (p *process) open(control, events int) (err error) {
	if p.control, err = ipc.New(control, true); err != nil {
		return err
	}
	if p.events, err = ipc.New(events, true); err != nil {
		return err
	}
	p.drainStale()
	if p.kernel, err = netif.New(p.log); err != nil {
		return err
	}
	if p.monitor, err = netif.NewMonitor(p.log); err != nil {
		return err
	}
	if p.announcer, err = netif.NewAnnouncer(p.log); err != nil {
		return err
	}
	p.timers = &timers{p: p}
	p.pacer.paces = map[paceKey]*pace{}
	p.claims = map[string]*claims{}
	p.virtuals = newVirtuals(netif.NewSysctls(p.log))
	if p.loop, err = speaker.NewLoop(); err != nil {
		return err
	}
	p.speaker = speaker.New(p.loop, p, p.log)
	p.loop.Watch(p.control.FD(), p.readControl)
	p.loop.Watch(p.events.FD(), p.readEvents)
	p.loop.Watch(p.monitor.FD(), p.readMonitor)
	return p.watchSignals()
}

// drainStale throws away what the cluster process wrote to a predecessor; the
// Hello asks it to say again what is needed.
func (p *process) drainStale() {
	for {
		_, f, err := p.events.Receive()
		if f != nil {
			f.Close()
		}
		if err != nil {
			break
		}
	}
	p.send(&ipc.Message{Hello: &ipc.Hello{Boot: p.boot}})
}

// watchSignals turns SIGTERM into an orderly stop on the loop's thread.
func (p *process) watchSignals() error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("making the signal descriptor: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		<-signals
		one := [8]byte{7: 1}
		_, _ = unix.Write(fd, one[:])
	}()
	p.loop.Watch(fd, p.stop)
	return nil
}

func (p *process) readControl() {
	for {
		m, file, err := p.control.Receive()
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			p.log.Warn("the guardian is gone: stopping")
			p.stop()
			return
		case err != nil:
			p.log.Error("control socket", "err", err)
			p.stop()
			return
		}
		switch {
		case m.Prepare != nil:
			p.prepare(m.Prepare.Gen, file)
		case m.Commit != nil:
			p.commit(m.Commit.Gen)
		case m.Stop != nil:
			p.stop()
			return
		}
		if file != nil {
			file.Close()
		}
	}
}

// offer is a prepared generation.
type offer struct {
	gen  int
	cfg  settings.VRRP
	plan *speaker.Plan
}

func (p *process) prepare(gen int, file *os.File) {
	answer := &ipc.Prepared{Gen: gen}
	if err := p.tryPrepare(gen, file); err != nil {
		answer.Err = err.Error()
	}
	p.answer(&ipc.Message{Prepared: answer})
}

func (p *process) tryPrepare(gen int, file *os.File) error {
	if file == nil {
		return errors.New("no configuration came with the request")
	}
	o := &offer{gen: gen}
	if err := ipc.ReadMemfile(file, &o.cfg); err != nil {
		return err
	}
	o.cfg.Router.StartupDelay = startupDelay(&o.cfg, sinceBoot())
	plan, err := p.speaker.Prepare(o.cfg.Router, p.packets(&o.cfg))
	if err != nil {
		return err
	}
	o.plan = plan
	p.offered = o
	return nil
}

// packets tells the speaker what it needs of each instance.
func (p *process) packets(cfg *settings.VRRP) []speaker.Instance {
	out := make([]speaker.Instance, len(cfg.Instances))
	for n := range cfg.Instances {
		s := &cfg.Instances[n]
		out[n] = speaker.Instance{
			Auth: s.AuthPass, Group: s.Group, CheckUnicastSrc: s.CheckUnicastSrc, TTL: s.TTL,
			SkipCheckAdvAddr: s.SkipCheckAdvAddr, V3ChecksumAsV2: s.V3ChecksumAsV2, LANProbe: speaker.ProbeMode(s.LANProbe),
		}
		p.protect(cfg.Router.Instances[n].Name, s, &out[n])
		for _, peer := range s.Peers {
			out[n].Peers = append(out[n].Peers, speaker.Peer{Addr: peer.Addr, HasTTL: peer.HasTTL, MinTTL: peer.MinTTL, MaxTTL: peer.MaxTTL})
		}
		for _, a := range s.VIPs {
			out[n].VIPs = append(out[n].VIPs, a.Prefix.Addr())
		}
	}
	return out
}

func (p *process) commit(gen int) {
	if p.offered == nil || p.offered.gen != gen {
		return // a retry of something already in force, or never prepared
	}
	o := p.offered
	p.offered = nil
	p.reconcile(o)
	p.answer(&ipc.Message{Committed: &ipc.Committed{Gen: gen}})
	// A result that came before this moment met a Router that did not know
	// its tracker: the cluster process says all of them again.
	p.send(&ipc.Message{Hello: &ipc.Hello{Boot: p.boot}})
	// What parsing and building left is garbage now; the steady state makes none.
	runtime.GC()
	debug.FreeOSMemory()
	warmStack(0)
	warmHeap()
}

// warmStack makes the stack as large as a takeover needs it: the collector has
// halved it, and growing costs page faults at the one moment that counts.
//
//go:noinline
func warmStack(from byte) byte {
	var room [32 << 10]byte
	for n := range room {
		room[n] = from + byte(n)
	}
	return room[room[1]]
}

// warmHeap makes the first allocation of each small size, with and without
// pointers, for the same reason: it takes a fresh page from the system.
func warmHeap() {
	for size := 16; size <= 1024; size += max(16, size/8) {
		runtime.KeepAlive(make([]byte, size))
		runtime.KeepAlive(make([]*byte, size/8))
	}
}

// reconcile puts a generation into force: what instances lose goes first, then
// the Router changes, then what holders gained is added.
func (p *process) reconcile(o *offer) {
	next := make([]*instance, 0, len(o.plan.IDs))
	gained := map[*instance]map[string][]netip.Addr{}
	for n, id := range o.plan.IDs {
		set := o.cfg.Instances[n]
		i := p.lookup(id)
		if i == nil || i.cfg.Key != o.cfg.Router.Instances[n].Key {
			next = append(next, newInstance(id, o.cfg.Router.Instances[n], set))
			continue
		}
		if i.holding {
			addrs, routes, rules := i.dropped(&set)
			p.complain(i, "rule", p.kernel.DelRules(rules))
			p.complain(i, "route", p.kernel.DelRoutes(routes))
			p.complain(i, "address", p.kernel.DelAddresses(addrs))
			if more := i.gained(&set); len(more) > 0 || len(set.Routes) > 0 || len(set.Rules) > 0 {
				gained[i] = more
			}
		}
		i.configure(o.cfg.Router.Instances[n], set)
		next = append(next, i)
	}
	p.statics(false, without(p.cfg.StaticAddresses, o.cfg.StaticAddresses, sameAddress), without(p.cfg.StaticRoutes, o.cfg.StaticRoutes, sameRoute))
	p.cfg = o.cfg
	unwanted := p.makeVirtuals(&p.cfg)
	p.updateFirewall()
	p.statics(true, p.cfg.StaticAddresses, p.cfg.StaticRoutes)
	// Removed instances are still needed while their farewell is carried out.
	for _, i := range next {
		for int(i.id) >= len(p.instances) {
			p.instances = append(p.instances, nil)
		}
		p.instances[i.id] = i
	}
	kept := make([]*instance, len(p.instances))
	for _, i := range next {
		kept[i.id] = i
	}
	for id, i := range p.instances {
		if i != nil && kept[id] == nil {
			i.removed = true
		}
	}
	p.speaker.Commit(o.plan)
	for id, i := range p.instances {
		if i != nil && kept[id] == nil {
			p.sendState(deletedMessage(i))
		}
	}
	p.instances = kept
	p.removeVirtuals(unwanted)
	for _, i := range next {
		p.blockAgain(i)
	}
	for i, more := range gained {
		p.restore(i)
		p.announce(i, more, max(i.cfg.Announce.Repeat, 1))
	}
	p.configureBFD(p.cfg.BFD)
	p.publishLinks()
	p.armExtra()
	p.claimsStale = true
	if !p.started {
		p.started = true
		p.speaker.Inject(&vrrp.Start{})
	}
}

func (p *process) lookup(id vrrp.InstanceID) *instance {
	if int(id) >= len(p.instances) {
		return nil
	}
	return p.instances[id]
}

// stop resigns, cleans the kernel and ends the loop.
func (p *process) stop() {
	if p.stopping {
		return
	}
	p.stopping = true
	p.speaker.Inject(&vrrp.Stop{})
	for _, s := range p.lastWords {
		p.sendState(s)
	}
	p.statics(false, p.cfg.StaticAddresses, p.cfg.StaticRoutes)
	p.stopBFD()
	p.speaker.Close()
	p.closeVirtuals()
	p.closeFirewall()
	p.loop.Stop()
}
