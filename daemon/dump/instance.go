package dump

import (
	"fmt"
	"time"

	"github.com/keepmesh/keepmesh/config"
	"github.com/keepmesh/keepmesh/daemon/ipc"
)

func (d *dumper) instances() {
	if len(d.c.Instances) == 0 {
		return
	}
	d.line("------< VRRP Topology >------")
	for _, i := range d.c.Instances {
		d.instance(i)
	}
}

func (d *dumper) instance(i *config.Instance) {
	s := d.status(i)
	d.line(" VRRP Instance = %s", i.Name)
	d.line("   VRRP Version = %d", i.Version)
	d.given("   Sync group = %s", i.SyncGroup)
	if i.Family == config.IPv6 {
		d.line("   Using Native IPv6")
	}
	state, wanted := states(i, s)
	d.line("   State = %s", state)
	if state == "BACKUP" {
		d.line("   Master router = %s", master(i, s))
		d.line("   Master priority = %d", s.MasterPriority)
		if i.Version == 3 {
			d.line("   Master advert int = %s sec", hundredths(advertInterval(i, s)))
		}
	}
	d.flags(i)
	d.line("   Wantstate = %s", wanted)
	d.line("   Number of config faults = 0")
	faults, waiting, total := terms(i, s)
	d.line("   Number of interface and track script faults = %d", faults)
	d.line("   Number of track scripts init = %d", waiting)
	d.line("   Last transition = %s", d.stamp(s.Since))
	if state == "FAULT" {
		d.line("   Read timeout = DISABLED")
	} else {
		d.line("   Read timeout = %s", d.stamp(time.Time{}))
	}
	d.line("   Master down timer = %d usecs", s.DownMS*1000)
	d.network(i, s)
	d.timing(i)
	d.line("   Virtual Router ID = %d", i.VRID)
	d.line("   Priority = %d", i.Priority)
	d.line("   Effective priority = %d", s.Effective)
	d.line("   Total priority = %d", total)
	d.advert(i, s)
	d.authentication(i)
	if i.KernelRxBuf != 0 {
		d.line("   Kernel rx buffer size = %d", i.KernelRxBuf)
	}
	if i.Debug != 0 {
		d.line("   Debug level = %d", i.Debug)
	}
	d.virtual(i, s)
	d.tracked(d.tracking[i.Name], "processes")
	d.line("   Using smtp notification = %s", choose(i.SMTPAlert, "yes", "no"))
	d.line("   Notify deleted = %s", choose(deletedIsNotified(i), "Deleted", "Fault"))
	n := &i.Notify
	d.notify("Backup", n.Backup)
	d.notify("Master", n.Master)
	d.notify("Fault", n.Fault)
	d.notify("Stop", n.Stop)
	d.notify("Deleted", n.Deleted)
	d.notify("Generic", n.Any)
	d.notify("Master rx lower pri", n.MasterRxLowerPri)
	d.line("   Notify priority changes = %t", i.NotifyPriorityChanges)
}

// states gives the state, and the one that the instance would be in by itself.
// keepalived calls it FAULT already while an instance waits for the first
// result of a script, and wants it to be BACKUP then.
func states(i *config.Instance, s *ipc.InstanceStatus) (state, wanted string) {
	faults, waiting, _ := terms(i, s)
	state = stateWord(s.State)
	if state == "INIT" && waiting > 0 {
		state = "FAULT"
	}
	if state != "FAULT" || faults > 0 || waiting == 0 {
		return state, state
	}
	return state, choose(i.Priority == 255, "MASTER", "BACKUP")
}

// stateNumber is a state in keepalived.json and in its SNMP agent.
func stateNumber(word string) int64 {
	return map[string]int64{"INIT": 0, "BACKUP": 1, "MASTER": 2, "FAULT": 3}[word]
}

// stateWord is a state in keepalived's words. Before the first state keepalived
// says INIT; a stopping instance is BACKUP there.
func stateWord(s string) string {
	switch s {
	case "MASTER", "BACKUP", "FAULT":
		return s
	case "STOP":
		return "BACKUP"
	}
	return "INIT"
}

// master is the address of the last advert; keepalived knows none until it
// has heard one, and then prints the zero address of the family.
func master(i *config.Instance, s *ipc.InstanceStatus) string {
	if s.Master != "" {
		return s.Master
	}
	if i.Family == config.IPv6 {
		return "::"
	}
	return "0.0.0.0"
}

// advertInterval is the interval that an instance goes by. The learned one of
// version 3 is not in the snapshot: it is the own one until it differs.
func advertInterval(i *config.Instance, s *ipc.InstanceStatus) time.Duration {
	if s.AdvertMS > 0 && i.AdvertInterval.Milliseconds() != s.AdvertMS {
		return time.Duration(s.AdvertMS) * time.Millisecond
	}
	return i.AdvertInterval
}

func hundredths(t time.Duration) string { return fmt.Sprintf("%.2f", t.Seconds()) }

func deletedIsNotified(i *config.Instance) bool {
	return i.Notify.Deleted != nil || i.Notify.DeletedBare
}

// terms counts what holds an instance in FAULT and what it waits for, and adds
// up its priority without limits.
func terms(i *config.Instance, s *ipc.InstanceStatus) (faults, waiting, total int) {
	total = i.Priority
	for _, t := range s.Terms {
		total += t.Amount
		if t.Fault {
			faults++
		}
		if t.State == "unknown" {
			waiting++
		}
	}
	if i.Priority == 255 {
		total = 255
	}
	return faults, waiting, total
}

// flags shows keepalived's word of flags: the line stands without anything
// below it where a flag is set that has no text.
func (d *dumper) flags(i *config.Instance) {
	source := i.McastSrcIP.IsValid() || i.UnicastSrcIP.IsValid()
	configured := i.Unicast || i.UnicastFaultNoPeer || i.Has("unicast_peer")
	silent := i.DontTrackPrimary || i.LinkBeatPolling || i.SkipCheckAdvAddr || source || i.TrackSrcIP || i.CheckUnicastSrc ||
		i.PromoteSecondaries || i.NoPreempt || i.VMAC != nil || i.IPVlan != nil || i.UseVMACAddr || i.GARP.ExtraIfAll || foreignFamily(i)
	if !configured && !silent {
		d.line("   Flags: none")
		return
	}
	d.line("   Flags:")
	switch {
	case i.Unicast:
		d.line("     Using unicast")
	case configured:
		d.line("     Unicast config option specified but using multicast")
	}
	if i.UnicastFaultNoPeer {
		d.line("     If unicast go to fault state if no peers")
	}
}

func foreignFamily(i *config.Instance) bool {
	for _, a := range i.VIPsExcluded {
		if a.Prefix.Addr().Is4() != (i.Family == config.IPv4) {
			return true
		}
	}
	return false
}

func (d *dumper) network(i *config.Instance, s *ipc.InstanceStatus) {
	if v := i.VMAC; v != nil {
		d.line("   Use VMAC, i/f name %s, is_up = %t, xmit_base = %t", d.device(i), d.exists(d.device(i)), i.VMACXmitBase)
		d.given("     MAC = %s", v.MAC)
	}
	if i.UseVMACAddr {
		d.line("   Use VMAC for VIPs on other interfaces")
	} else if v := i.IPVlan; v != nil {
		addr := ""
		if v.Addr.IsValid() {
			addr = ", i/f address = " + v.Addr.String()
		}
		d.line("   Use IPVLAN, i/f %s, is_up = %t%s, type %s", d.device(i), d.exists(d.device(i)), addr, choose(v.Mode == "", "bridge", v.Mode))
	}
	if d.device(i) != i.Interface {
		d.line("   Interface = %s, %s on %s%s", d.device(i), choose(i.VMAC != nil, "vmac", "ipvlan"), i.Interface, choose(i.VMACXmitBase, ", xmit base i/f", ""))
	} else {
		d.line("   Interface = %s", choose(i.Interface == "", "not configured", i.Interface))
	}
	d.given("   VRF = %s", i.VRF)
	if i.DontTrackPrimary {
		d.line("   VRRP interface tracking disabled")
	}
	if i.SkipCheckAdvAddr {
		d.line("   Skip checking advert IP addresses")
	}
	if i.Strict {
		d.line("   Enforcing strict VRRP compliance")
	}
	from, origin := s.Source, ""
	if i.Unicast && i.UnicastSrcIP.IsValid() {
		from, origin = i.UnicastSrcIP.String(), " (from configuration)"
	} else if i.McastSrcIP.IsValid() {
		from, origin = i.McastSrcIP.String(), " (from configuration)"
	}
	d.line("   Using src_ip = %s%s", choose(from == "", "(none)", from), origin)
	switch {
	case i.Unicast:
	case i.Family == config.IPv6:
		d.line("   Multicast address %s, ifindex %d", i.McastDstIP, d.index(d.device(i)))
	default:
		d.line("   Multicast address %s", i.McastDstIP)
	}
}

func (d *dumper) timing(i *config.Instance) {
	g := &i.GARP
	d.line("   Gratuitous ARP delay = %d", seconds(g.MasterDelay))
	d.line("   Gratuitous ARP repeat = %d", g.MasterRepeat)
	d.line("   Gratuitous ARP refresh = %d", seconds(g.MasterRefresh))
	d.line("   Gratuitous ARP refresh repeat = %d", g.MasterRefreshRepeat)
	d.line("   Gratuitous ARP lower priority delay = %d", seconds(g.LowerPrioDelay))
	d.line("   Gratuitous ARP lower priority repeat = %d", g.LowerPrioRepeat)
	d.line("   Down timer adverts = %d", i.DownTimerAdverts)
	d.line("   Send advert after receive lower priority advert = %t", !i.LowerPrioNoAdvert)
	d.line("   Send advert after receive higher priority advert = %t", i.HigherPrioSendAdvert)
}

func (d *dumper) advert(i *config.Instance, s *ipc.InstanceStatus) {
	if i.Version == 2 {
		d.line("   Advert interval = %d sec", seconds(i.AdvertInterval))
	} else {
		d.line("   Advert interval = %d milli-sec", i.AdvertInterval.Milliseconds())
		if stateWord(s.State) == "BACKUP" {
			d.line("   Master advert interval = %d milli-sec", advertInterval(i, s).Milliseconds())
		}
	}
	d.line("   Accept = %s", choose(i.Accept, "enabled", "disabled"))
	d.line("   Preempt = %s", choose(i.NoPreempt, "disabled", "enabled"))
	if delay := preemptDelay(i); delay > 0 {
		d.line("   Preempt delay = %s secs", general(delay.Seconds()))
	}
	d.line("   Promote_secondaries = %s", choose(i.PromoteSecondaries, "enabled", "disabled"))
}

// preemptDelay is the delay in force: none beside nopreempt.
func preemptDelay(i *config.Instance) time.Duration {
	if i.NoPreempt {
		return 0
	}
	return i.PreemptDelay
}

func (d *dumper) authentication(i *config.Instance) {
	switch {
	case i.Auth.Type == config.AuthAH:
		d.line("   Authentication type = IPSEC_AH")
	case i.Auth.Type == config.AuthPass:
		d.line("   Authentication type = SIMPLE_PASSWORD")
		d.line("   Password = %s", i.Auth.Pass)
	case i.Version == 2:
		d.line("   Authentication type = none")
	}
}

// virtual writes addresses, unicast peers, routes and rules.
func (d *dumper) virtual(i *config.Instance, s *ipc.InstanceStatus) {
	held := s.State == "MASTER"
	if len(i.VIPs) > 0 {
		d.line("   Virtual IP (%d):", len(i.VIPs))
	}
	for n := range i.VIPs {
		d.line("     %s", d.address(&i.VIPs[n], i, held))
	}
	if len(i.VIPsExcluded) > 0 {
		d.line("   Virtual IP Excluded :")
	}
	for n := range i.VIPsExcluded {
		d.line("     %s", d.address(&i.VIPsExcluded[n], i, held))
	}
	if i.Unicast {
		if ttl := unicastTTL(i); ttl >= 0 {
			d.line("   Unicast TTL = %d", ttl)
		}
		d.line("   Check unicast src : %s", choose(i.CheckUnicastSrc, "yes", "no"))
		d.line("   Unicast Peer :")
		for _, p := range i.UnicastPeers {
			lo, hi := 0, 255
			if p.HasTTL {
				lo, hi = p.MinTTL, p.MaxTTL
			}
			d.line("     %s min_ttl %d max_ttl %d", p.Addr, lo, hi)
		}
		compat := map[config.ChecksumMode]string{config.ChecksumAuto: "no", config.ChecksumAlways: "config", config.ChecksumNever: "never"}
		d.line("   Unicast checksum compatibility = %s", compat[i.OldUnicastChecksum])
	}
	d.line("   fd_in %d, fd_out %d", noDescriptor, noDescriptor)
	if len(i.VirtualRoutes) > 0 {
		d.line("   Virtual Routes :")
	}
	for n := range i.VirtualRoutes {
		d.line("     %s", d.route(&i.VirtualRoutes[n]))
	}
	if len(i.VirtualRules) > 0 {
		d.line("   Virtual Rules :")
	}
	for n := range i.VirtualRules {
		d.line("     %s", d.rule(&i.VirtualRules[n]))
	}
}

// unicastTTL is -1 where keepalived leaves the hop limit to the kernel.
func unicastTTL(i *config.Instance) int {
	if i.UnicastTTL < 0 && i.Family == config.IPv4 {
		return 255
	}
	return i.UnicastTTL
}

// noDescriptor is what keepalived keeps while a socket is closed. Ours belong
// to another process, so that their numbers would mean nothing here.
const noDescriptor = -1

// device is the interface that carries an instance: its VMAC or ipvlan where
// it has one.
func (d *dumper) device(i *config.Instance) string {
	v := i.VMAC
	if v == nil {
		v = i.IPVlan
	}
	switch {
	case v == nil:
		return i.Interface
	case v.Name != "":
		return v.Name
	}
	return fmt.Sprintf("%s.%d", d.c.Global.VMACPrefix, i.VRID)
}
