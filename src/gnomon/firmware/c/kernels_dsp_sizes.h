/* Scratch memory of the DSP kernels in bytes; firmware/arrange.py has the same figures. */
#ifndef GNOMON_KERNELS_DSP_SIZES_H
#define GNOMON_KERNELS_DSP_SIZES_H

/* Convolution, `products` being kernel_h * kernel_w * in_c. Elements of a column, the inputs of one pixel. */
#define GNOMON_DSP_COLUMN(products) (((products) + 3) & ~3)
/* Pixels in a block: 4 kB of columns, but 8 to 128 pixels. The more there are, the less the weights' expansion costs;
 * where columns are long, images are small by then. */
#define GNOMON_DSP_BLOCK(column) (2048 / (column) >= 128 ? 128 : 2048 / (column) <= 8 ? 8 : 2048 / (column) & ~1)
/* The block's columns and two channels' weights as int16. */
#define GNOMON_DSP_CONV_SCRATCH(products) \
  (2 * GNOMON_DSP_COLUMN(products) * (GNOMON_DSP_BLOCK(GNOMON_DSP_COLUMN(products)) + 2))

/* 3x3 depthwise convolution: four rows of four channels as int16. */
#define GNOMON_DSP_DEPTHWISE_SCRATCH(width) (32 * (width))

/* Dense layer: its inputs as int16. */
#define GNOMON_DSP_DENSE_SCRATCH(in) (((in) + 7) / 8 * 16)

#endif
