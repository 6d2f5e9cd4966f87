package guardian

import (
	"fmt"
	"os"
	"time"

	"github.com/keepmesh/keepmesh/daemon/ipc"
)

// reload reads the configuration and puts it into force in two phases. On any
// failure the running configuration stays and the log says why.
func (g *Guardian) reload() {
	_ = g.opt.Manager.Reloading()
	defer g.tellReady()

	next, err := g.opt.Load(true)
	if err != nil {
		g.keep(err)
		return
	}
	previous, previousGen := g.version, g.gen
	g.lastGen++
	g.version, g.gen, g.early = next, g.lastGen, nil
	if err := g.agree(); err != nil {
		g.version, g.gen = previous, previousGen
		g.keep(err)
		return
	}
	g.log.Info("configuration reloaded", "config", g.version.Summary)
	g.cluster.send(&ipc.Message{Notice: &ipc.Notice{Level: "info", Text: "configuration reloaded: " + g.version.Summary}}, nil)
}

func (g *Guardian) keep(err error) {
	g.log.Error("reload refused: the running configuration stays in force", "err", err)
	g.cluster.send(&ipc.Message{Notice: &ipc.Notice{Level: "error", Text: "reload refused, the running configuration stays in force: " + err.Error()}}, nil)
}

// agree is both phases. A child that is away takes the new generation when it
// is started again.
func (g *Guardian) agree() error {
	children := []*child{g.vrrp, g.cluster}
	files := make(map[*child]*os.File)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, c := range children {
		f, err := g.memfile(c)
		if err != nil {
			return err
		}
		files[c] = f
		c.send(&ipc.Message{Prepare: &ipc.Prepare{Gen: g.gen}}, f)
	}
	for _, c := range children {
		answer, err := g.await(c, func(m *ipc.Message) bool { return m.Prepared != nil && m.Prepared.Gen == g.gen })
		if err != nil {
			return err
		}
		if answer != nil && answer.Prepared.Err != "" {
			return fmt.Errorf("the %s process: %s", c.role, answer.Prepared.Err)
		}
	}
	// The cluster process first: the scripts of new instances are known to it
	// before their first transition.
	for _, c := range []*child{g.cluster, g.vrrp} {
		c.send(&ipc.Message{Commit: &ipc.Commit{Gen: g.gen}}, nil)
		if _, err := g.await(c, func(m *ipc.Message) bool { return m.Committed != nil && m.Committed.Gen == g.gen }); err != nil {
			// Both have agreed and one has perhaps begun: there is no way back.
			// The late process commits when it reads its message.
			g.log.Warn("process is slow to commit the configuration", "process", c.role, "err", err)
		}
	}
	return nil
}

// await takes messages until the child has sent one that want accepts. Deaths
// and other messages are handled as usual. It returns nil without an error
// when the child is not running.
func (g *Guardian) await(c *child, want func(*ipc.Message) bool) (*ipc.Message, error) {
	if i := g.takeEarly(c, want); i != nil {
		return i, nil
	}
	life := c.life
	timeout := time.NewTimer(prepareTime)
	defer timeout.Stop()
	for c.running() && c.life == life {
		select {
		case m := <-g.messages:
			if m.child == c && m.life == life && m.msg != nil && want(m.msg) {
				return m.msg, nil
			}
			if m.msg != nil && (m.msg.Prepared != nil || m.msg.Committed != nil) {
				g.early = append(g.early, m)
				continue
			}
			if m.msg != nil && m.msg.Reload != nil {
				continue // one is under way
			}
			if err := g.handle(m); err != nil {
				return nil, err
			}
		case <-timeout.C:
			return nil, fmt.Errorf("the %s process (pid %d) did not answer within %s; is it stopped?", c.role, c.pid(), prepareTime)
		}
	}
	return nil, nil
}

// takeEarly finds an answer that came while another child's was awaited.
func (g *Guardian) takeEarly(c *child, want func(*ipc.Message) bool) *ipc.Message {
	for i, m := range g.early {
		if m.child == c && m.life == c.life && want(m.msg) {
			g.early = append(g.early[:i], g.early[i+1:]...)
			return m.msg
		}
	}
	return nil
}
