package speaker

import (
	"time"

	"github.com/keepmesh/keepmesh/vrrp/packet"
)

// authenticate gives what a member sends and expects the same authentication.
// Its numbers and its marks against replay outlive a change of the configuration
// or of the source address.
func (s *Speaker) authenticate(m *member, spec *packet.Spec) error {
	m.expect.AuthType, m.expect.AH, m.expect.HMAC = packet.AuthNone, nil, nil
	switch {
	case m.inst.HMAC != nil:
		h, err := packet.NewHMAC(*m.inst.HMAC, m.hmac)
		if err != nil {
			return err
		}
		m.hmac = h
		spec.HMAC, m.expect.HMAC = h, h
	case m.inst.Auth != nil && m.inst.AH:
		key := packet.Password(string(m.inst.Auth))
		if m.ah == nil {
			// Above whatever was sent before a restart, as long as the clock
			// was right.
			m.ah = packet.NewAH(key, uint32(time.Now().Unix()))
		}
		m.ah.SetPassword(key)
		spec.AuthType, m.expect.AuthType = packet.AuthAH, packet.AuthAH
		spec.AH, m.expect.AH = m.ah, m.ah
	case m.inst.Auth != nil:
		key := packet.Password(string(m.inst.Auth))
		spec.AuthType, m.expect.AuthType = packet.AuthPass, packet.AuthPass
		spec.Password, m.expect.Password = key, key
	}
	return nil
}

// clock tells the member's authentication the time, where it asks for it.
func (m *member) clock() {
	if m.hmac != nil {
		m.hmac.SetClock(time.Duration(time.Now().UnixNano()))
	}
}

// warnings deals with what an accepted advert was remarkable for. keepalived
// says each once; so it is here, until another sender is heard.
func (m *member) warnings(s *Speaker, warn packet.Warning, rx *packet.Received) {
	if warn.Has(packet.AddressesDiffer) {
		m.warned(s, rx.Source)
	}
	if warn.Has(packet.ClockSkew) && m.skewedOf != rx.Source {
		m.skewedOf = rx.Source
		s.log.Warn("the clocks drift apart: auth_hmac will refuse adverts", "instance", m.cfg.Name, "from", rx.Source)
		s.kernel.Event("VRRP", m.id, "the clock of "+rx.Source.String()+" is off by more than half of auth_hmac's time_window: synchronise the clocks")
	}
	// One peer that still sends the old form is enough: every keepalived takes
	// both, as long as its old_unicast_checksum is automatic.
	if warn.Has(packet.OldChecksum) && !m.oldUnicast {
		m.oldUnicast = true
		if m.encoder != nil {
			m.encoder.SetOldUnicast(m.inst.ChecksumGroup)
		}
		s.log.Info("a peer sends the old form of the VRRPv3 checksum: so do we now", "instance", m.cfg.Name, "from", rx.Source)
	}
}
