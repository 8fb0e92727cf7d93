// Package docs keeps the user documentation true: its tests run every command
// that a page shows and compare what it prints with what the page says.
//
// A page is a script. Each page runs in a folder of its own that starts as a copy
// of examples/first-gate, in one shell from top to bottom, with the assay binary
// first on the PATH and no setting of the caller's. Three kinds of fenced block
// matter:
//
//   - "console": a line that starts with "$ " is a command (a trailing backslash
//     goes on in the next line), the lines below it are what it prints, standard
//     error included. "…" stands for any text within a line, and a line that is
//     only "…" for any lines. The last line "(exit 3)" is not printed: it is the
//     exit code, which is 0 where a page says nothing.
//   - any language followed by "file=NAME": the block is that file, written when
//     the page comes to it.
//   - everything else, "sh" for example, is text. Pages say where a command is
//     not run, and why.
package docs
