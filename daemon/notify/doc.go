// Package notify tells the outside about state changes as keepalived does:
// by notify scripts and by lines on notify FIFOs.
//
// For each [Change] the order is keepalived's: the script of the state
// (notify_master and so on), then `notify` with `INSTANCE|GROUP NAME STATE
// PRIO` appended, then one line on every FIFO. Scripts are started in that
// order and run side by side; only the FIFO keeps the order for its reader.
//
// Invariants:
//   - Notify never waits for a script nor for a reader: a FIFO that is full
//     loses the line, which is counted and logged.
//   - A line on a FIFO is complete or absent.
//   - A FIFO that was there before is not removed at the end.
//
// Threading: all methods may be called from any goroutine; changes are told
// in the order of the calls of Notify.
package notify
