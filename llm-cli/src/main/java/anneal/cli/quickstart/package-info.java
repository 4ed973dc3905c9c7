/** The job that runs anywhere without a download: a small world of facts, a model that learns it, an instruction it did not know. */
package anneal.cli.quickstart;
