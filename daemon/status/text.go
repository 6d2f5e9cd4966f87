package status

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// warnings are the sentences under the table: what an operator should look at.
func warnings(s *Status, in Input) []string {
	var out []string
	for i := range s.Instances {
		inst := &s.Instances[i]
		if len(inst.Owners) > 1 {
			out = append(out, fmt.Sprintf("%s is held by %s at once: they do not hear each other on any path.  Try: keepmesh explain %s",
				inst.Name, strings.Join(inst.Owners, " and "), inst.Name))
		}
		if inst.Fencing.Text != "" {
			out = append(out, fmt.Sprintf("%s on %s: %s", inst.Name, s.Node, inst.Fencing.Text))
		}
	}
	for _, n := range in.Others {
		if !n.Live {
			out = append(out, fmt.Sprintf("%s did not answer: its part is what it said %s ago", n.Name, age(in.Now.Sub(n.AsOf))))
		}
	}
	if in.Self.VRRPSilent {
		out = append(out, "the vrrp process of "+in.Self.Name+" does not answer the cluster process; its part is what it said "+age(in.Now.Sub(in.Self.AsOf))+" ago")
	}
	if in.Self.WireError != "" {
		out = append(out, "the second wire of "+in.Self.Name+" is down: "+in.Self.WireError)
	}
	if in.Quorum.Voters == 2 {
		out = append(out, "two voters survive the loss of none: add a small witness in a third failure domain (role witness in its mesh.conf)")
	}
	return out
}

// Write prints the status for people: answer first, evidence second.
func (s *Status) Write(w io.Writer) {
	fmt.Fprintln(w, s.headline())
	fmt.Fprintln(w)
	if len(s.Instances) == 0 {
		fmt.Fprintln(w, "no vrrp_instance is configured")
	} else {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "VIP\tINSTANCE\tHOLDER\tSINCE\tBACKUPS (effective priority)\tFENCING")
		for i := range s.Instances {
			s.Instances[i].row(t, s)
		}
		_ = t.Flush()
	}
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "\n! %s\n", text)
	}
}

func (s *Status) headline() string {
	if s.Cluster == "" {
		return s.Node + ": no mesh (plain VRRP)"
	}
	alive := 0
	for _, m := range s.Members {
		if m.Status == "alive" {
			alive++
		}
	}
	q := "no quorum"
	switch {
	case s.Quorum.Have:
		q = fmt.Sprintf("quorum held (leader %s, term %d, commit %d), survives the loss of %d",
			s.Quorum.Leader, s.Quorum.Term, s.Quorum.CommitIndex, s.Quorum.FailureTolerance)
	case s.Quorum.State != "" && s.Quorum.Voters > 0:
		q = fmt.Sprintf("no quorum (%d of %d voters alive, this node is %s); addresses are not affected", s.Quorum.Alive, s.Quorum.Voters, s.Quorum.State)
	}
	return fmt.Sprintf("%s: %d of %d nodes, %s", s.Cluster, alive, len(s.Members), q)
}

func (i *Instance) row(w io.Writer, s *Status) {
	vip := "-"
	if len(i.VIPs) > 0 {
		vip = i.VIPs[0]
	}
	if len(i.VIPs) > 1 {
		vip += fmt.Sprintf(" +%d", len(i.VIPs)-1)
	}
	holder := i.Owner
	if len(i.Owners) > 1 {
		holder = strings.Join(i.Owners, "+") + "!"
	}
	if holder == "" && i.Master != "" {
		holder = i.Master
	}
	if holder == "" {
		holder = "nobody"
	}
	var backups []string
	if i.State != "" && i.State != "MASTER" {
		backups = append(backups, standing(s.Node, i.State, i.EffectivePriority, i.Reason, i.Fencing.Verdict))
	}
	for _, p := range i.Peers {
		if p.State != "MASTER" {
			backups = append(backups, standing(p.Node, p.State, p.EffectivePriority, p.Reason, p.Verdict))
		}
	}
	fencing := i.Fencing.Policy
	if i.Fencing.Verdict != "" {
		fencing += ", " + i.Fencing.Verdict
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", vip, i.Name, holder, age(s.AsOf.Sub(i.Since)), strings.Join(backups, "  "), fencing)
}

// standing is one node that does not hold: "lb3 (97: chk_nginx down)".
func standing(node, state string, priority int, reason, verdict string) string {
	notes := []string{}
	if state != "BACKUP" {
		notes = append(notes, state)
	}
	if verdict != "" {
		notes = append(notes, verdict)
	}
	if reason != "" && state != "BACKUP" {
		notes = append(notes, reason)
	}
	if len(notes) == 0 {
		return fmt.Sprintf("%s (%d)", node, priority)
	}
	return fmt.Sprintf("%s (%d: %s)", node, priority, strings.Join(notes, ", "))
}

// age prints a duration as an operator says it.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}
