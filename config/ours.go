package config

import "fmt"

// ourKeywords are keepmesh's own. Each may also be written as a comment,
// "#keepmesh: KEYWORD ARGS", which keepalived skips.
func ourKeywords() []Keyword {
	var rows []Keyword
	for _, section := range []string{"vrrp_instance", "vrrp_sync_group"} {
		rows = append(rows,
			Keyword{Section: section, Name: "fencing_policy", Tier: B, Ours: true, Args: "availability|quorum", set: fencingPolicy},
		)
	}
	return append(rows,
		Keyword{Section: "vrrp_instance", Name: "advert_transport", Tier: B, Ours: true, Args: "lan|both", set: choice(in(func(i *Instance) *string { return &i.AdvertTransport }), "lan", "both")},
		Keyword{Section: "vrrp_instance", Name: "health_agreement", Tier: B, Ours: true, Args: "local|majority", set: choice(in(func(i *Instance) *string { return &i.HealthAgreement }), "local", "majority")},
		Keyword{Section: "vrrp_instance", Name: "lan_probe", Tier: B, Ours: true, Args: "auto|on|off", set: lanProbe(in(func(i *Instance) *Toggle { return &i.LANProbe }))},
	)
}

// policies are the values of fencing_policy and of mesh.conf's policy.
const (
	PolicyAvailability = "availability"
	PolicyQuorum       = "quorum"
)

// quorumMessage explains the policy that cannot be had yet.
const (
	quorumMessage = "policy quorum is not available in this version"
	quorumHint    = "use availability: one holder while nodes hear each other over either wire"
)

// policy reads a fencing policy; a refused one leaves the default in place.
func (d *decoder) policy(s *stmt) (string, bool) {
	t, ok := d.need(s, 0)
	if !ok {
		return "", false
	}
	switch t.Text {
	case PolicyAvailability:
		return PolicyAvailability, true
	case PolicyQuorum:
		d.failAt(s, t, quorumMessage, quorumHint)
	default:
		d.failAt(s, t, fmt.Sprintf("policy %q is unknown", printable(t.Text)), "availability")
	}
	return "", false
}

func fencingPolicy(d *decoder, s *stmt) {
	p, ok := d.policy(s)
	switch {
	case !ok:
	case d.group != nil:
		d.group.FencingPolicy = p
	case d.inst != nil:
		d.inst.FencingPolicy = p
	}
}

func lanProbe(f field[Toggle]) setter {
	return func(d *decoder, s *stmt) {
		t, ok := d.need(s, 0)
		if !ok {
			return
		}
		switch t.Text {
		case "auto":
			*f(d) = Auto
		case "on":
			*f(d) = On
		case "off":
			*f(d) = Off
		default:
			d.failAt(s, t, fmt.Sprintf("%q is unknown", printable(t.Text)), "auto, on or off")
		}
	}
}
