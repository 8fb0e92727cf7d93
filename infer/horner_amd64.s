#include "textflag.h"

// func evaluateVectors(terms *float64, n int, ratios, out *[lanes]float64)
//
// Horner's rule at 36 ratios, four in each of Y0 to Y8, from the last term on. A product is
// rounded before the term is added, as in Go: there is no fused step.
TEXT ·evaluateVectors(SB), NOSPLIT, $0-32
	MOVQ         terms+0(FP), SI
	MOVQ         n+8(FP), CX
	MOVQ         ratios+16(FP), DX
	MOVQ         out+24(FP), DI
	VBROADCASTSD -8(SI)(CX*8), Y0
	VMOVAPD      Y0, Y1
	VMOVAPD      Y0, Y2
	VMOVAPD      Y0, Y3
	VMOVAPD      Y0, Y4
	VMOVAPD      Y0, Y5
	VMOVAPD      Y0, Y6
	VMOVAPD      Y0, Y7
	VMOVAPD      Y0, Y8
	DECQ         CX
	JZ           done

step:
	VBROADCASTSD -8(SI)(CX*8), Y9
	VMULPD       0(DX), Y0, Y0
	VMULPD       32(DX), Y1, Y1
	VMULPD       64(DX), Y2, Y2
	VMULPD       96(DX), Y3, Y3
	VMULPD       128(DX), Y4, Y4
	VMULPD       160(DX), Y5, Y5
	VMULPD       192(DX), Y6, Y6
	VMULPD       224(DX), Y7, Y7
	VMULPD       256(DX), Y8, Y8
	VADDPD       Y9, Y0, Y0
	VADDPD       Y9, Y1, Y1
	VADDPD       Y9, Y2, Y2
	VADDPD       Y9, Y3, Y3
	VADDPD       Y9, Y4, Y4
	VADDPD       Y9, Y5, Y5
	VADDPD       Y9, Y6, Y6
	VADDPD       Y9, Y7, Y7
	VADDPD       Y9, Y8, Y8
	DECQ         CX
	JNZ          step

done:
	VMOVUPD      Y0, 0(DI)
	VMOVUPD      Y1, 32(DI)
	VMOVUPD      Y2, 64(DI)
	VMOVUPD      Y3, 96(DI)
	VMOVUPD      Y4, 128(DI)
	VMOVUPD      Y5, 160(DI)
	VMOVUPD      Y6, 192(DI)
	VMOVUPD      Y7, 224(DI)
	VMOVUPD      Y8, 256(DI)
	VZEROUPPER
	RET
