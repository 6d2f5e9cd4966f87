package config

import (
	"fmt"
	"slices"
	"strings"
)

func (d *dumper) instance(i *Instance) {
	d.open("vrrp_instance", quote(i.Name))
	d.flag("native_ipv6", i.NativeIPv6)
	d.set("state", i.State)
	d.text("interface", i.Interface)
	d.text("vrf", i.VRF)
	d.vmac(i)
	d.set("virtual_router_id", i.VRID)
	d.set("priority", i.Priority)
	d.set("version", i.Version)
	d.set("advert_int", secsText(i.AdvertInterval))
	d.addressing(i)
	if i.Auth.Type != AuthNone {
		d.open("authentication")
		d.set("auth_type", map[AuthType]string{AuthPass: "PASS", AuthAH: "AH"}[i.Auth.Type])
		d.set("auth_pass", quote(i.Auth.Pass))
		d.close()
	}
	d.hmac(i.HMAC)
	d.flag("nopreempt", i.NoPreempt)
	if i.PreemptDelay > 0 {
		d.set("preempt_delay", secsText(i.PreemptDelay))
	}
	d.flag("dont_track_primary", i.DontTrackPrimary)
	d.tracking(&i.Tracking)
	d.list("virtual_ipaddress", len(i.VIPs), func(n int) string { return rawLine(i.VIPs[n].Raw) })
	d.list("virtual_ipaddress_excluded", len(i.VIPsExcluded), func(n int) string { return rawLine(i.VIPsExcluded[n].Raw) })
	d.flag("no_virtual_ipaddress", i.NoVIP)
	d.flag("promote_secondaries", i.PromoteSecondaries)
	d.list("virtual_routes", len(i.VirtualRoutes), func(n int) string { return rawLine(i.VirtualRoutes[n].Raw) })
	d.list("virtual_rules", len(i.VirtualRules), func(n int) string { return rawLine(i.VirtualRules[n].Raw) })
	d.behaviour(i)
	d.notify(&i.Notify)
	d.ours(i)
	d.close()
}

func (d *dumper) vmac(i *Instance) {
	if v := i.VMAC; v != nil {
		words := []string{"use_vmac"}
		if v.Name != "" {
			words = append(words, v.Name)
		}
		if v.MAC != "" {
			words = append(words, v.MAC)
		}
		if v.Group != "" {
			words = append(words, "group", v.Group)
		}
		if v.NetlinkNotify {
			words = append(words, "netlink_notify_msg")
		}
		d.line(strings.Join(words, " "))
	}
	if v := i.IPVlan; v != nil {
		words := []string{"use_ipvlan"}
		if v.Name != "" {
			words = append(words, "name", v.Name)
		}
		if v.Addr.IsValid() {
			words = append(words, v.Addr.String())
		}
		words = append(words, v.Mode)
		if v.Group != "" {
			words = append(words, "group", v.Group)
		}
		d.line(strings.Join(words, " "))
	}
	d.flag("use_vmac_addr", i.UseVMACAddr)
	d.flag("vmac_xmit_base", i.VMACXmitBase)
}

func (d *dumper) addressing(i *Instance) {
	d.addr("mcast_src_ip", i.McastSrcIP)
	d.addr("mcast_dst_ip", i.McastDstIP)
	d.addr("unicast_src_ip", i.UnicastSrcIP)
	d.list("unicast_peer", len(i.UnicastPeers), func(n int) string {
		p := i.UnicastPeers[n]
		if !p.HasTTL {
			return p.Addr.String()
		}
		return fmt.Sprintf("%s min_ttl %d max_ttl %d", p.Addr, p.MinTTL, p.MaxTTL)
	})
	d.flag("unicast_fault_no_peer", i.UnicastFaultNoPeer)
	d.flag("track_src_ip", i.TrackSrcIP)
	if i.Unicast {
		d.differs("check_unicast_src", i.CheckUnicastSrc, d.g.CheckUnicastSrc || slices.ContainsFunc(i.UnicastPeers, func(p UnicastPeer) bool { return p.HasTTL }))
		if i.UnicastTTL >= 0 {
			d.set("unicast_ttl", i.UnicastTTL)
		}
		switch i.OldUnicastChecksum {
		case ChecksumAuto:
		case ChecksumAlways:
			d.line("old_unicast_checksum")
		case ChecksumNever:
			d.line("old_unicast_checksum never")
		}
	}
}

func (d *dumper) hmac(h *HMAC) {
	if h == nil {
		return
	}
	d.open("auth_hmac")
	for _, k := range h.Keys {
		d.line(fmt.Sprintf("key %d %s", k.ID, quote(k.Spec)))
	}
	if h.ActiveKey > 0 {
		d.set("active_key", h.ActiveKey)
	}
	if h.TimeWindow > 0 {
		d.set("time_window", secsText(h.TimeWindow))
	}
	d.set("anti_replay", h.AntiReplay)
	d.set("mode", h.Mode)
	d.close()
}

func (d *dumper) behaviour(i *Instance) {
	d.truth("strict_mode", i.Strict)
	if i.Accept {
		d.line("accept")
	} else {
		d.line("no_accept")
	}
	// 2.2.7 takes any value of this and of check_unicast_src as on.
	d.differs("skip_check_adv_addr", i.SkipCheckAdvAddr, d.g.SkipCheckAdvAddr)
	d.truth("lower_prio_no_advert", i.LowerPrioNoAdvert)
	d.truth("higher_prio_send_advert", i.HigherPrioSendAdvert)
	d.differs("owner_ignore_adverts", i.OwnerIgnoreAdverts, d.g.OwnerIgnoreAdverts || i.Strict)
	d.differs("v3_checksum_as_v2", i.V3ChecksumAsV2, d.g.V3ChecksumAsV2)
	d.set("down_timer_adverts", i.DownTimerAdverts)
	if i.TimerExpiredBackup > 0 {
		d.set("timer_expired_backup", i.TimerExpiredBackup)
	}
	lowerPrio := GARP{LowerPrioDelay: -1, LowerPrioRepeat: -1}
	if i.Strict {
		lowerPrio = i.GARP
	}
	d.garp("", &i.GARP, &lowerPrio, 0)
	d.flag("linkbeat_use_polling", i.LinkBeatPolling)
	if i.Has("debug") {
		d.set("debug", i.Debug)
	}
	if i.KernelRxBuf > 0 {
		d.set("kernel_rx_buf_size", i.KernelRxBuf)
	}
	d.text("lvs_sync_daemon_interface", i.LVSSyncInterface)
	d.truth("smtp_alert", i.SMTPAlert)
	d.truth("notify_priority_changes", i.NotifyPriorityChanges)
}

func (d *dumper) ours(i *Instance) {
	for _, o := range []struct{ keyword, value string }{
		{"fencing_policy", i.FencingPolicy}, {"advert_transport", i.AdvertTransport}, {"health_agreement", i.HealthAgreement},
		{"lan_probe", map[Toggle]string{On: "on", Off: "off"}[i.LANProbe]},
	} {
		if o.value != "" {
			d.set("#keepmesh: "+o.keyword, o.value)
		}
	}
}
