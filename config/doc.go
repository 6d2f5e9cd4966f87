// Package config reads keepalived.conf and mesh.conf into typed models.
//
//	Source -> reader (files, comments, @id, $VAR, ~SEQ, include)
//	       -> pieces (words, "{", "}", each with file, line, column)
//	       -> parser (dispatches on the one keyword table)
//	       -> Config -> defaults -> cross checks -> problems in text order
//
// Invariants: problems are collected, never thrown, and reading goes on after
// each; a keyword that is not acted on is reported by name; what is read is
// bounded in size, depth and expansion; a loaded Config is final, with all
// defaults folded in, and refers to nothing that changes later.
//
// The text is judged as keepalived 2.2.7 judges it, and the Code of a Problem
// says how its -t would exit. Where a newer keepalived differs, the newer
// meaning is taken.
//
// Nothing here starts a goroutine, holds a lock or keeps state between calls:
// Load may be called from several goroutines at once.
package config
