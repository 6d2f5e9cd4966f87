// Package mail sends the alert mails of `smtp_alert`: keepalived's subjects,
// headers and dialogue (HELO, MAIL FROM, RCPT TO for each, DATA, QUIT; one
// connection for each mail), with a queue that keepalived has not.
//
//	Queue.Send ──▶ bounded queue ──▶ one goroutine ──▶ relay
//	                    ▲                  │ relay away, or 4xx
//	                    └──────────────────┘
//
// Invariants:
//   - Send never waits and never fails: a full queue loses its oldest mail,
//     counted and logged.
//   - Mails arrive in the order of Send, but for one that the relay wants
//     later (4xx to it alone): those behind it do not wait for it.
//   - A relay that is away stops the whole queue, with growing pauses, and not
//     each mail by itself; a mail older than [Options.MaxAge] is dropped.
//   - A Date header is the time of Send: an alert that was late says so.
//   - Nothing that a name of the configuration contains can end a header or
//     the text early.
//
// Threading: all methods may be called from any goroutine.
package mail
