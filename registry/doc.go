// Package registry pushes attestation bundles to OCI registries, finds them
// there and pulls them.
//
// A bundle hangs on an image as a referrer: a manifest whose subject is the
// image and whose only layer is the bundle. The layout is that of cosign 3, so
// either program reads what the other wrote. A registry without the referrers
// API gets the index under the tag "sha256-<hex>" that OCI defines for it.
//
// A registry is a shelf and not a witness. Whoever may write to it hangs
// anything on an image and calls it anything; whoever runs it may hide, replace
// and slow down. So every answer is bounded, every byte is compared with the
// digest it was asked for, every manifest with the image it should be about,
// and what is wrong is reported beside what is right instead of hiding it.
// What a bundle says is for package attest to verify: annotations here help to
// choose, never to decide. That a registry shows nothing proves nothing: a
// caller who knows what must be there asks with Listing.Missing.
package registry
