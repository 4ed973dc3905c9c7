/** What a model's layers see while it runs over some text: the measurements that post-training methods stand on. */
package anneal.quant.calibrate;
