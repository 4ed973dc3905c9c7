package anneal.cli;

import static anneal.cli.Cli.bad;
import static anneal.cli.Cli.ok;
import static anneal.cli.Cli.with;
import static org.assertj.core.api.Assertions.assertThat;

import anneal.TinyModelFixture;
import anneal.io.Json;
import anneal.io.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** --adapter-config: what the file says is what is trained and saved; what the command cannot do is named. */
class AdapterConfigTest extends TinyModelFixture {
    private static final String LORA = "'peft_type':'LORA','r':2,'lora_alpha':4,'target_modules':['q_proj','v_proj']";

    /** A file with these keys, double quotes written as single ones. */
    private Path config(String keys) throws IOException {
        return Files.writeString(dir.resolve("given.json"), "{" + keys.replace('\'', '"') + "}");
    }

    private List<Object> sft(String keys, Object... more) throws IOException {
        return with(
                Cli.tune(model, data, dir.resolve("run"), 2),
                with(List.of("--adapter-config", config(keys)), more).toArray());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                LORA + ",'use_dora':true,'use_rslora':true,'lora_dropout':0.1,'layers_to_transform':[1]",
                LORA + ",'init_lora_weights':'gaussian','modules_to_save':['lm_head']",
                LORA
                        + ",'rank_pattern':{'v_proj':3},'alpha_pattern':{'q_proj':8},'exclude_modules':['layers.0.self_attn.q_proj']",
                "'peft_type':'ADALORA','init_r':3,'target_r':2,'lora_alpha':4,'target_modules':['q_proj'],'tinit':0,"
                        + "'tfinal':0,'deltaT':1,'orth_reg_weight':0.1",
                "'peft_type':'IA3','target_modules':['k_proj','down_proj'],'feedforward_modules':['down_proj']",
                "'peft_type':'LOHA','r':2,'alpha':4,'target_modules':['up_proj'],'module_dropout':0.5",
                "'peft_type':'LOKR','r':2,'alpha':4,'target_modules':['up_proj'],'decompose_both':true,'decompose_factor':4",
                "'peft_type':'VERA','r':4,'target_modules':['q_proj'],'d_initial':0.2,'save_projection':false",
                "'peft_type':'PREFIX_TUNING','num_virtual_tokens':4,'prefix_projection':true,'encoder_hidden_size':12",
                "'peft_type':'PROMPT_TUNING','num_virtual_tokens':4,'prompt_tuning_init':'TEXT',"
                        + "'prompt_tuning_init_text':'What colour','tokenizer_name_or_path':'tiny'",
                "'peft_type':'P_TUNING','num_virtual_tokens':4,'encoder_reparameterization_type':'LSTM',"
                        + "'encoder_hidden_size':8,'encoder_num_layers':2,'encoder_dropout':0.1",
                "'peft_type':'LAST_LAYERS','last_layers':1,'train_head':true"
            })
    void whatTheFileSaysIsTrainedAndSaved(String keys) throws IOException {
        ok(sft(keys).toArray());
        JsonObject given = Json.read(dir.resolve("given.json")),
                saved = Json.read(dir.resolve("run/adapter_config.json"));
        given.map().forEach((key, value) -> assertThat(saved.map()).containsEntry(key, value));
        assertThat(saved.string("base_model_name_or_path")).isEqualTo(model.toString());
        ok("generate", "--model", model, "--adapter", dir.resolve("run"), "--prompt", "What", "--max-tokens", 2);
        ok(with(sft(keys), "--iters", 2, "--resume").toArray()); // config.yaml has the file's name
    }

    @Test
    void bottlenecksInTheirLibrarysLayout() throws IOException {
        String config =
                "'config':{'mh_adapter':true,'output_adapter':true,'reduction_factor':4,'non_linearity':'swish',"
                        + "'is_parallel':true,'scaling':2.0,'init_weights':'mam_adapter','leave_out':[0]}";
        ok(sft(config + ",'name':'mine','version':'adapters.1.3.0'").toArray());
        JsonObject given = Json.read(dir.resolve("given.json")).object("config"),
                saved = Json.read(dir.resolve("run/adapter_config.json"));
        given.map()
                .forEach(
                        (key, value) -> assertThat(saved.object("config").map()).containsEntry(key, value));
        assertThat(saved.string("name")).isEqualTo("mine");
        assertThat(saved.string("model_name")).isEqualTo(model.toString());
    }

    @Test
    void theRateIsTheMethodsAndAQuantisedBaseGoesWithIt() throws IOException {
        ok(sft("'peft_type':'IA3','target_modules':['k_proj'],'feedforward_modules':[]", "--quantize", "nf4")
                .toArray());
        assertThat(Files.readString(dir.resolve("run/config.yaml")))
                .contains("adapter-config: ", "learning-rate: " + AdapterName.ia3.rate)
                .doesNotContain("adapter:", "rank:");
    }

    @Test
    void aClassifierIsTrainedByOneToo() throws IOException {
        Path texts = Files.writeString(
                dir.resolve("texts.jsonl"),
                "{\"text\":\"The sky\",\"label\":\"a\"}\n{\"text\":\"The grass\",\"label\":\"b\"}\n".repeat(4));
        String keys = LORA + ",'task_type':'SEQ_CLS','modules_to_save':['classifier','score'],'use_dora':true";
        ok(
                "classify",
                "--model",
                model,
                "--data",
                texts,
                "--adapter-config",
                config(keys),
                "--output",
                dir.resolve("run"),
                "--iters",
                2,
                "--batch-size",
                2,
                "--max-seq-length",
                16);
        JsonObject saved = Json.read(dir.resolve("run/adapter_config.json"));
        Json.read(dir.resolve("given.json"))
                .map()
                .forEach((key, value) -> assertThat(saved.map()).containsEntry(key, value));
        bad(
                Cli.with(Cli.tune(model, data, dir.resolve("no"), 2), "--adapter-config", config(keys)),
                "needs a model with");
    }

    @Test
    void aFileThatChangedDoesNotGoOnWithTheRun() throws IOException {
        ok(sft(LORA).toArray());
        bad(
                sft(LORA + ",'lora_dropout':0.3", "--iters", 4, "--resume"),
                "given.json is not what it was when the run began, which is kept in ",
                "run/adapter-config.json: --resume goes on with the same run");
        ok(sft(LORA, "--iters", 4, "--resume").toArray());
    }

    @Test
    void whatTheCommandCannotDoIsNamed() throws IOException {
        bad(sft(LORA, "--rank", 4), "--rank does not go with --adapter-config, which has all options of the adapter");
        bad(sft(LORA, "--adapter", "lora"), "--adapter does not go with --adapter-config");
        bad(sft(LORA, "--full"), "--adapter-config does not go with --full");
        bad(
                sft(LORA + ",'init_lora_weights':'eva'"),
                "given.json: init_lora_weights looks at data before the training");
        bad(
                sft(LORA + ",'init_lora_weights':'lora_ga'"),
                "given.json: init_lora_weights lora_ga begins with a gradient");
        bad(sft(LORA + ",'init_lora_weights':'pissa'"), "need LAPACK", "nd4j");
        bad(sft("'peft_type':'OSF','target_modules':['q_proj']"), "given.json: Osf decomposes matrices by LAPACK");
        bad(sft(LORA + ",'use_qalora':true"), "given.json: not supported", "use_qalora");
        bad(sft(LORA + ",'use_doar':true"), "given.json: unknown key \"use_doar\", did you mean \"use_dora\"?");
        bad(sft("'r':2"), "given.json: ", "peft_type");
        bad(sft("'peft_type':'LORA','r':0,'lora_alpha':4,'target_modules':['q_proj']"), "given.json: Lora: rank 0");
        String prompt = "'peft_type':'PROMPT_TUNING','num_virtual_tokens':40";
        bad(sft(prompt), "--max-seq-length 64 and 40 virtual tokens are over the model's limit of 96 positions");
        bad(sft(prompt, "--packing"), "--packing does not go with --adapter prompt_tuning");
        bad(sft(LORA, "--adapter-config", dir.resolve("none.json")), "none.json: no such file");
        bad(sft(LORA, "--adapter-config", dir), dir.toString());
        assertThat(dir.resolve("run")).doesNotExist();
    }
}
